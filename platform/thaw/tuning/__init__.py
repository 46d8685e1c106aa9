"""Tuning: a search over fine-tuning plans; depth, rates and all else that an experiment sets are its dimensions."""
