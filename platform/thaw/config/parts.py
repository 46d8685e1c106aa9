"""Sections of an experiment, and sections whose fields depend on a ``type``: tasks and data sources.

A part's options live in the part's own file, so adding a part touches one file. Here is only how an
experiment refers to them: ``type`` names the file, and the file's ``Options`` check the rest.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from thaw import catalog
from thaw.errors import ConfigError

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
"""Lower-case letters, digits, - and _; it becomes part of file names, URLs and metric names."""


class Section(BaseModel):
    """A part of an experiment: frozen, bounded by its types, and strict about unknown keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False, validate_default=True
    )

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, values: Any) -> Any:
        if isinstance(values, Mapping):
            for key in values:
                if key not in cls.model_fields:
                    hint = catalog.did_you_mean(str(key), cls.model_fields)
                    known = ", ".join(cls.model_fields)
                    raise PydanticCustomError(
                        "unknown_key",
                        "unknown key {key}; known here: {known}{hint}",
                        {"key": repr(key), "known": known, "hint": hint},
                    )
        return values


class Part(Section):
    """Options of a part that ``type`` names; each part's file adds its own fields."""

    type: str
    """Which part: a file name in the part's folder."""


class PartOf:
    """Annotation for a field that holds the options of any part in a folder.

    ``Annotated[TaskOptions, PartOf("tasks")]`` accepts ``{"type": "classification", ...}`` and validates
    it with ``thaw/tasks/classification.py``'s ``Options``.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def options(self, name: str) -> type[Part]:
        """Return the options class of the part ``name``."""
        chosen: type[Part] = catalog.part(self.folder, name).Options
        return chosen

    def _validate(self, value: Any) -> Part:
        if isinstance(value, Part):
            return value
        if not isinstance(value, Mapping) or not isinstance(value.get("type"), str):
            known = ", ".join(catalog.names(self.folder))
            raise PydanticCustomError("part_type", "needs a mapping with type: one of {known}", {"known": known})
        try:
            options = self.options(value["type"])
        except ConfigError as error:
            raise PydanticCustomError("part_type", "type: {reason}", {"reason": str(error)}) from None
        return options.model_validate(value)

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self._validate,
            serialization=core_schema.plain_serializer_function_ser_schema(lambda part: part.model_dump(mode="json")),
        )

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        parts = [self.options(name) for name in catalog.names(self.folder)]
        return {"oneOf": [handler(part.__pydantic_core_schema__) for part in parts]}
