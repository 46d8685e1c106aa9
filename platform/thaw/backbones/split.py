"""Split: a backbone cut in two where its open layers begin, by the flow of its data.

What is below is a fixed function of the image for as long as its weights are frozen; what is above learns. The network
is traced with torch.fx just far enough: a layer whose weights all are on one side stays a whole layer, called as ever.
Nothing is copied, so both halves always hold the model's own weights. Why one would split stands elsewhere.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from timm import layers
from torch import Tensor, fx, nn
from torch.fx.node import Argument
from torch.nn.modules.batchnorm import _BatchNorm

from thaw.backbones.contract import Backbone, Features
from thaw.errors import ModelError

Cut = dict[str, Tensor]
"""What passes from below to above, by name; the rows of every tensor are images."""

_TRIALS = (2, 3)
"""Images in the two trial passes that tell what grows with their number."""
_TIMM: Any = layers
_MODULES = _TIMM.get_notrace_modules()
_FUNCTIONS = [*_TIMM.get_notrace_functions(), _TIMM.resample_abs_pos_embed, _TIMM.resample_abs_pos_embed_nhwc]
"""What timm says should not be traced into, and its functions that branch by the size of a map."""
_UNTRACEABLE = (AssertionError, AttributeError, IndexError, KeyError, NameError, RuntimeError, TypeError, ValueError)
"""What code raises that was not written to be traced."""


@dataclass(frozen=True)
class Split:
    """A backbone in two halves: ``above(below(images))`` are its features.

    Attributes:
        names: of the tensors in between, in order.
        below: (B, 3, S, S) normalised images -> what is in between, in that order.
        size: side of the square input, in pixels.
    """

    names: tuple[str, ...]
    below: nn.Module
    size: int
    _rest: Callable[..., Sequence[Tensor]]

    @property
    def told(self) -> str:
        """What `below` does with its layers, in code."""
        return self.below.code if isinstance(self.below, fx.GraphModule) else " ".join(self.names)

    def cut(self, images: Tensor) -> Cut:
        """Return what lies between the halves for (B, 3, S, S) normalised images."""
        return dict(zip(self.names, self.below(images), strict=True))

    def above(self, cut: Mapping[str, Tensor]) -> Features:
        """Return the features of what `cut` returned."""
        pooled, *maps = self._rest(*(cut[name] for name in self.names))
        return Features(pooled, self.size, maps)


def split(backbone: Backbone, num_maps: int, size: int) -> Split:
    """Cut a backbone below its open weights, those with ``requires_grad``.

    Args:
        num_maps: how many of its maps are wanted, counted from the coarsest.
        size: side of the square input, in pixels.

    Raises:
        ModelError: nothing is frozen, the network cannot be traced, or its lower half is not a fixed function.
    """
    weights = list(backbone.parameters())
    if all(weight.requires_grad for weight in weights):
        raise ModelError("every layer group is open")
    if any(weight.requires_grad for weight in weights):
        found = _traced_split(backbone, num_maps, size)
    else:
        found = _above_everything(backbone, num_maps, size)
    _check_fixed(found.below)
    _check_equal(found, backbone, num_maps, size)
    return found


class _Outputs(nn.Module):
    """A backbone that returns its pooled vector and the maps that are wanted, plainly."""

    def __init__(self, backbone: Backbone, num_maps: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.num_maps = num_maps

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        features: Features = self.backbone(images, self.num_maps > 0)
        return features.pooled, *features.maps[len(features.maps) - self.num_maps :]


def _above_everything(backbone: Backbone, num_maps: int, size: int) -> Split:
    """Return the split of a backbone that is frozen as a whole; it need not be traced."""
    names = ("pooled", *(f"map{place}" for place in range(num_maps)))
    return Split(names, _Outputs(backbone, num_maps), size, lambda *outputs: outputs)


def _traced_split(backbone: Backbone, num_maps: int, size: int) -> Split:
    outputs = _Outputs(backbone, num_maps)
    try:
        graph = _traced(outputs)
        opened = _depending_on_open(graph, outputs)
        facts = [_facts(graph, outputs, opened, rows, size) for rows in _TRIALS]
    except _UNTRACEABLE as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise ModelError(f"{type(_body(backbone)).__name__} cannot be traced ({reason})") from None
    return _Cutter(graph, outputs, opened, facts, size).split()


def _body(backbone: nn.Module) -> nn.Module:
    return getattr(backbone, "body", backbone)


class _Tracer(fx.Tracer):
    """Goes into modules with weights on both sides, and no others."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__(autowrap_functions=tuple(_FUNCTIONS), param_shapes_constant=True)
        # fx looks for these functions where a module is called, and backbones call methods of their body instead.
        self._autowrap_search += [sys.modules[kind.__module__] for kind in type(body).__mro__]

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002 - fx's names
        return len({weight.requires_grad for weight in m.parameters()}) < 2 or type(m) in _MODULES


def _traced(outputs: _Outputs) -> fx.Graph:
    """Return the graph of a network whose own code is the same in training and evaluation.

    Raises:
        ValueError: it is not; a layer that is called as a whole may differ.
    """
    body = _body(outputs.backbone)
    graph = _Tracer(body).trace(outputs)
    with _evaluating(outputs):
        other = _Tracer(body).trace(outputs)
    if str(graph) != str(other):
        raise ValueError("its own code is another one in training")
    return _pruned(outputs, graph).graph


def _pruned(outputs: nn.Module, graph: fx.Graph) -> fx.GraphModule:
    """Return a graph, without what it need not compute, as a module that calls the very layers of the network."""
    made = fx.GraphModule(outputs, graph)
    made.graph.eliminate_dead_code()
    made.recompile()
    return made


def _depending_on_open(graph: fx.Graph, outputs: nn.Module) -> set[fx.Node]:
    """Return the nodes with open weights, and all that come of them."""
    opened: set[fx.Node] = set()
    for node in graph.nodes:
        own = any(weight.requires_grad for weight in _weights(node, outputs))
        if own or any(given in opened for given in node.all_input_nodes):
            opened.add(node)
    return opened


def _weights(node: fx.Node, outputs: nn.Module) -> Iterable[Tensor]:
    if node.op == "call_module":
        return outputs.get_submodule(str(node.target)).parameters()
    return [_attribute(outputs, str(node.target))] if node.op == "get_attr" else []


def _attribute(outputs: nn.Module, target: str) -> Tensor:
    owner, _, name = target.rpartition(".")
    found: Tensor = getattr(outputs.get_submodule(owner), name)
    return found


Fact = torch.Size | int | None
"""Of a value in a trial pass: a tensor's shape, a whole number itself, nothing of anything else."""


class _Trial(fx.Interpreter):
    """Computes what depends on no open weight, and notes what it is like."""

    def __init__(self, outputs: nn.Module, graph: fx.Graph, opened: set[fx.Node]) -> None:
        super().__init__(outputs, graph=graph)
        self._opened = opened
        self.facts: dict[fx.Node, Fact] = {}

    def run_node(self, n: fx.Node) -> Any:
        if n in self._opened or n.op == "output":
            return None
        value = super().run_node(n)
        self.facts[n] = value.shape if isinstance(value, Tensor) else value if type(value) is int else None
        return value


@torch.no_grad()
def _facts(graph: fx.Graph, outputs: nn.Module, opened: set[fx.Node], rows: int, size: int) -> Mapping[fx.Node, Fact]:
    trial = _Trial(outputs, graph, opened)
    trial.run(torch.zeros(rows, 3, size, size, device=next(outputs.parameters()).device))
    return trial.facts


class _Cutter:
    """Decides node by node what is above, and builds both halves."""

    def __init__(
        self,
        graph: fx.Graph,
        outputs: _Outputs,
        opened: set[fx.Node],
        facts: Sequence[Mapping[fx.Node, Fact]],
        size: int,
    ) -> None:
        self._graph, self._outputs, self._opened, self._facts, self._size = graph, outputs, opened, facts, size
        self._above: set[fx.Node] = set()
        self._between: dict[fx.Node, None] = {}
        self._known: dict[fx.Node, int] = {}

    def split(self) -> Split:
        """Return the halves.

        Raises:
            ModelError: what comes between them are the images themselves.
        """
        for node in self._graph.nodes:
            if node in self._opened or node.op == "output":
                self._put_above(node)
        between = [node for node in self._graph.nodes if node in self._between]
        if not between or any(node.op == "placeholder" for node in between):
            raise ModelError("an open layer sees the image itself")
        names = tuple(node.name for node in between)
        return Split(names, self._below(between), self._size, self._rest(between))

    def _put_above(self, node: fx.Node) -> None:
        """Compute a node above; what it takes comes from below where it has a row for every image.

        Anything else, such as a parameter or a shape that was read off a tensor, is computed above too.
        """
        if node in self._above:
            return
        self._above.add(node)
        for given in node.all_input_nodes:
            kinds = [one.get(given) for one in self._facts]
            if given in self._opened:
                self._put_above(given)
            elif _is_by_row(kinds):
                self._between[given] = None
            elif isinstance(kinds[0], int) and kinds[0] == kinds[1]:
                self._known[given] = kinds[0]
            elif kinds == list(_TRIALS):
                self._known[given] = -1
            else:
                self._put_above(given)

    def _below(self, between: Sequence[fx.Node]) -> fx.GraphModule:
        graph, made = fx.Graph(), dict[fx.Node, fx.Node]()
        for node in self._graph.nodes:
            if node not in self._opened and node.op != "output":
                made[node] = graph.node_copy(node, made.__getitem__)
        graph.output(tuple(made[node] for node in between))
        return _pruned(self._outputs, graph)

    def _rest(self, between: Sequence[fx.Node]) -> fx.GraphModule:
        graph = fx.Graph()
        made: dict[fx.Node, Argument] = {node: graph.placeholder(node.name) for node in between}
        rows = graph.call_method("size", (made[between[0]], 0))
        made |= {node: rows if value < 0 else value for node, value in self._known.items()}
        for node in self._graph.nodes:
            if node in self._above and node.op != "output":
                made[node] = graph.node_copy(node, made.__getitem__)
        [told] = [node for node in self._graph.nodes if node.op == "output"]
        graph.output(fx.node.map_arg(told.args[0], made.__getitem__))
        return _pruned(self._outputs, graph)


def _is_by_row(kinds: Sequence[Fact]) -> bool:
    """Return whether a value is a tensor with as many rows as there were images, and otherwise of one shape."""
    shapes = [kind for kind in kinds if isinstance(kind, torch.Size) and kind]
    return tuple(shape[0] for shape in shapes) == _TRIALS and shapes[0][1:] == shapes[1][1:]


def _check_fixed(below: nn.Module) -> None:
    """Raise a ModelError when a layer below draws at random or moves statistics while the model trains."""
    for module in (inner for inner in below.modules() if inner.training):
        drops = max(float(getattr(module, name, None) or 0) for name in ("p", "drop_prob", "prob"))
        if isinstance(module, _BatchNorm) or drops:
            raise ModelError(f"a frozen {type(module).__name__} is in training mode")


def _check_equal(found: Split, backbone: Backbone, num_maps: int, size: int) -> None:
    """Raise a ModelError when the halves do not give what the whole gives: a trace keeps one way through branches."""
    weight = next(backbone.parameters())
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0)).to(weight.device)
    with torch.no_grad(), _evaluating(backbone):
        features, whole = found.above(found.cut(images)), _Outputs(backbone, num_maps)(images)
    for part, one in zip((features.pooled, *features.maps), whole, strict=True):
        if not torch.allclose(part, one, rtol=1e-3, atol=1e-4 * float(one.abs().max())):
            raise ModelError(f"the halves of {type(_body(backbone)).__name__} do not give what the whole does")


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode and back, layer by layer."""
    modes = [(one, one.training) for one in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for one, training in modes:
            one.training = training
