"""Request bodies checked and normalised against the models of the installed azure-batch SDK.

Unknown members are refused as the service would. Values are brought to the form in which the service
stores them: numbers sent as text become numbers, durations and times take their normal form, enums the
service's case, null members are dropped.

Assumed: the sentence for an unknown member (the code InvalidRequestBody and "Reason" are documented);
whole numbers have 32 bits; text with a NUL character, or that is no Unicode, is refused.
"""

from __future__ import annotations

import math
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any

from snakemake_executor_azurebatch.emulator.faults import (
    INVALID_REQUEST_BODY,
    MISSING_PROPERTY,
    ServiceFault,
    invalid_property,
)
from snakemake_executor_azurebatch.emulator.legacy import modernised
from snakemake_executor_azurebatch.emulator.wire import (
    Json,
    JsonValue,
    duration_text,
    parse_duration,
    parse_time,
    time_text,
)

#: Enums whose stored case differs from the SDK's (source: recorded exchange).
_STORED_CASE = {
    "BatchNodeFillType": {"spread": "Spread", "pack": "Pack"},
    "OutputFileUploadCondition": {
        "tasksuccess": "TaskSuccess",
        "taskfailure": "TaskFailure",
        "taskcompletion": "TaskCompletion",
    },
}
_LOWEST, _HIGHEST = -(2**31), 2**31 - 1

Normalise = Callable[[str, Any], Any]


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a body: how its value is normalised, and whether it must be there.

    What only the service writes may be sent back (PUT of what GET gave) and is ignored.
    """

    normalise: Normalise
    is_required: bool
    is_read_only: bool


def check_body(model: str, body: JsonValue, *, is_legacy: bool = False) -> Json:
    """The body in normal form. Raises ServiceFault (400) that names what is wrong.

    ``is_legacy``: sent for an api-version before 2025-06-01 (see ``legacy``).
    """
    # clients of 2025-06-01 exist that send certificateReferences with this one body, as it once was required
    is_legacy = is_legacy or model == "BatchPoolReplaceOptions"
    return _check_object(model, modernised(body) if is_legacy else body)


def _check_object(model: str, body: JsonValue) -> Json:
    if not isinstance(body, Mapping):
        raise _bad_body(f"An object of type '{model}' was expected.")
    members = _members(model)
    checked: Json = {}
    for name, value in body.items():
        if name.startswith("odata."):  # an annotation, of what GET gave
            continue
        if name not in members:
            raise _bad_body(
                f"The property '{name}' does not exist on type '{model}'. "
                "Make sure to only use property names that are defined by the type."
            )
        if value is not None and not members[name].is_read_only:
            checked[name] = members[name].normalise(name, value)
    for name, member in members.items():
        if member.is_required and name not in checked:
            raise ServiceFault(MISSING_PROPERTY, (("PropertyName", name), ("Reason", "The property is required.")))
    return checked


def _bad_body(reason: str) -> ServiceFault:
    return ServiceFault(INVALID_REQUEST_BODY, (("Reason", reason),))


@cache
def _members(model: str) -> Mapping[str, Member]:
    from azure.batch import models
    from azure.batch.models import _models

    cls = getattr(models, model, None) or getattr(_models, model)  # a few bodies have no public model
    cls.__new__(cls)  # the SDK names a model's fields when the first of its kind is made
    names = {**vars(_models), "_models": models}
    found = {}
    for attribute, annotation in typing.get_type_hints(cls, globalns=names).items():
        field = _rest_field(cls, attribute)
        if field is not None:
            found[_wire_name(field)] = _member(annotation, field)
    return found


def _rest_field(cls: type, attribute: str) -> JsonValue:
    for base in cls.__mro__:
        candidate = vars(base).get(attribute)
        if hasattr(candidate, "_rest_name"):
            return candidate
    return None


def _wire_name(field: JsonValue) -> str:
    return str(field._rest_name)  # noqa: SLF001 (the SDK has no public way)


def _member(annotation: JsonValue, field: JsonValue) -> Member:
    is_read_only = field._visibility == ["read"]  # noqa: SLF001 (the SDK has no public way)
    is_required = NoneType not in typing.get_args(annotation) and not is_read_only
    return Member(_normaliser(annotation), is_required, is_read_only)


def _normaliser(annotation: JsonValue) -> Normalise:
    origin: JsonValue = typing.get_origin(annotation)
    choices = typing.get_args(annotation)
    if origin in (typing.Union, UnionType):
        rest = [choice for choice in choices if choice is not NoneType]
        enums = [choice for choice in rest if isinstance(choice, type) and issubclass(choice, Enum)]
        return _normaliser(enums[0] if enums else rest[0])
    if origin is list:
        return _list_of(_normaliser(choices[0]))
    if origin is dict:
        return _any
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return _one_of(annotation)
    return _SCALARS.get(annotation) or _object_of(annotation.__name__)


def _list_of(item: Normalise) -> Normalise:
    def normalise(name: str, value: JsonValue) -> JsonValue:
        if not isinstance(value, list):
            raise _bad_body(f"The property '{name}' must be a collection.")
        return [item(name, entry) for entry in value]

    return normalise


def _object_of(model: str) -> Normalise:
    def normalise(name: str, value: JsonValue) -> JsonValue:
        if not isinstance(value, Mapping):
            raise _bad_body(f"The property '{name}' must be an object.")
        return _check_object(model, value)

    return normalise


def _one_of(enum: type[Enum]) -> Normalise:
    stored = {str(member.value).lower(): str(member.value) for member in enum}
    stored.update(_STORED_CASE.get(enum.__name__, {}))

    def normalise(name: str, value: JsonValue) -> JsonValue:
        found = stored.get(str(value).lower())
        if found is None:
            raise invalid_property(name, value, f"The value must be one of: {', '.join(stored.values())}")
        return found

    return normalise


def _any(name: str, value: JsonValue) -> JsonValue:
    return value


def _text(name: str, value: JsonValue) -> JsonValue:
    if not isinstance(value, str):
        raise _bad_body(
            f"The property '{name}': cannot convert a value of this kind to the expected type 'Edm.String'."
        )
    if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise _bad_body(f"The property '{name}' holds characters that are not allowed.")
    return value


def _integer(name: str, value: JsonValue) -> JsonValue:
    number = _finite(value)
    if number is None or not number.is_integer():
        raise invalid_property(name, value, "The value must be a whole number")
    if not _LOWEST <= number <= _HIGHEST:
        raise invalid_property(name, value, f"The value must be between {_LOWEST} and {_HIGHEST}")
    return int(number)


def _number(name: str, value: JsonValue) -> JsonValue:
    number = _finite(value)
    if number is None:
        raise invalid_property(name, value, "The value must be a number")
    return number


def _finite(value: JsonValue) -> float | None:
    """The number, also one sent as text (as the az command line does); None for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _boolean(name: str, value: JsonValue) -> JsonValue:
    known = {"true": True, "false": False}
    if str(value).lower() not in known:
        raise invalid_property(name, value, "The value must be true or false")
    return known[str(value).lower()]


def _duration(name: str, value: JsonValue) -> JsonValue:
    try:
        return duration_text(parse_duration(str(value)))
    except ValueError:
        raise invalid_property(name, value, "The value must be an ISO 8601 duration") from None


def _time(name: str, value: JsonValue) -> JsonValue:
    try:
        return time_text(parse_time(str(value)))
    except ValueError:
        raise invalid_property(name, value, "The value must be an ISO 8601 time") from None


_SCALARS: Mapping[Any, Normalise] = {
    str: _text,
    int: _integer,
    float: _number,
    bool: _boolean,
    timedelta: _duration,
    datetime: _time,
    Any: _any,
}
