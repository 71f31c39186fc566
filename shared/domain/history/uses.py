"""Finds which methods of a class use history, from their code."""

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cached_property
from types import CodeType, FunctionType
from typing import Any

BY_ANY_NAME = frozenset({"history_values", "lacks_history"})
"""What tells of all columns."""


def using(cls: type, methods: Mapping[str, Callable[[Any], Any]], columns: Collection[str]) -> frozenset[str]:
    """The methods whose code names a column, itself or in what it calls of the class and of its module."""
    names = BY_ANY_NAME.union(columns)
    return frozenset(name for name, method in methods.items() if names & _named(cls, method, set()))


def _named(cls: type, method: Any, seen: set[FunctionType]) -> frozenset[str]:
    """All names in the method's code, and in that of what it calls."""
    found: set[str] = set()
    for function in _functions(method):
        if function in seen:
            continue
        seen.add(function)
        names = set(_names(function.__code__))
        found |= names
        for name in names:
            # a method may be overridden, and call the one of its base by super()
            called = [vars(base)[name] for base in cls.__mro__ if name in vars(base)]
            beside = function.__globals__.get(name)
            if _package(beside) == _package(function):
                called.append(beside)
            for each in called:
                found |= _named(cls, each, seen)
    return frozenset(found)


def _package(value: Any) -> str:
    return str(getattr(value, "__module__", "")).partition(".")[0]


def _functions(value: Any) -> list[FunctionType]:
    """The Python functions in a method, a property, or what wraps one."""
    if isinstance(value, property):
        value = value.fget
    elif isinstance(value, cached_property):
        value = value.func
    elif isinstance(value, staticmethod | classmethod):
        value = value.__func__
    found = [value] if isinstance(value, FunctionType) else []
    beneath = getattr(value, "__wrapped__", None) if callable(value) else None
    return found if beneath is None else [*found, *_functions(beneath)]


def _names(code: CodeType) -> Iterator[str]:
    """The names in code and in the functions that it makes; also texts, as `getattr` takes one."""
    yield from code.co_names
    for const in code.co_consts:
        if isinstance(const, str):
            yield const
        elif isinstance(const, CodeType):
            yield from _names(const)
