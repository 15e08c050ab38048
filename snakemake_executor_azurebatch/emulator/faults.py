"""Every error the local service answers: status, code and sentence, as data.

Sentences marked "recorded" were seen from the service; the others follow its documentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of error: HTTP status, the service's code, its sentence."""

    status: int
    code: str
    sentence: str


class ServiceFault(Exception):
    """Ends a request with a fault. ``values`` are (key, value) pairs that say more."""

    def __init__(self, fault: Fault, values: Sequence[tuple[str, str]] = (), **words: str) -> None:
        self.fault = fault
        self.sentence = fault.sentence.format(**words) if words else fault.sentence
        self.values = tuple(values)
        self.headers: dict[str, str] = {}  #: besides the usual ones
        super().__init__(f"{fault.code}: {self.sentence}")


def _fault(status: int, code: str, sentence: str) -> Fault:
    return Fault(status, code, sentence)


NOT_MODIFIED = _fault(
    304,
    "ConditionNotMet",
    "The condition specified in the conditional header(s) was not met for a read operation.",
)
CONDITION_NOT_MET = _fault(
    412,
    "ConditionNotMet",
    "The condition specified in the conditional header(s) was not met for a write operation.",
)

MISSING_QUERY_PARAMETER = _fault(
    400, "MissingRequiredQueryParameter", "A required query parameter was not specified for this request."
)
UNSUPPORTED_VERSION = _fault(
    400, "UnsupportedRequestVersion", "The API version specified in the request is not supported by the service."
)
INVALID_QUERY_VALUE = _fault(  # recorded
    400,
    "InvalidQueryParameterValue",
    "Value for one of the query parameters specified in the request URI is invalid.",
)
OUT_OF_RANGE_QUERY_VALUE = _fault(
    400,
    "OutOfRangeQueryParameterValue",
    "A query parameter specified in the request URI is outside the permissible range.",
)
INVALID_HEADER_VALUE = _fault(
    400, "InvalidHeaderValue", "The value provided for one of the HTTP headers was not in the correct format."
)
INVALID_REQUEST_BODY = _fault(400, "InvalidRequestBody", "The specified Request Body is not syntactically valid.")
INVALID_PROPERTY_VALUE = _fault(  # recorded
    400,
    "InvalidPropertyValue",
    "The value provided for one of the properties in the request body is invalid.",
)
NO_DEPENDENCIES = _fault(
    400,
    "TaskDependenciesNotSpecifiedOnJob",
    "The task has dependencies, but the job was not created with usesTaskDependencies set to true.",
)
DEPENDENCY_LIST_TOO_LONG = _fault(
    400, "TaskDependencyListTooLong", "The list of task dependencies exceeds the maximum length permitted."
)
DEPENDENCY_RANGES_TOO_LONG = _fault(
    400, "TaskDependencyRangesTooLong", "The list of ranges of task dependencies exceeds the maximum length permitted."
)
MISSING_PROPERTY = _fault(400, "MissingRequiredProperty", "A required property was not specified in the request body.")
EMPTY_METADATA_KEY = _fault(400, "EmptyMetadataKey", "The key for one of the metadata key-value pairs is empty.")
INVALID_AUTOSCALE = _fault(400, "InvalidAutoScalingSettings", "The specified auto-scaling settings are not valid.")
FORMULA_SYNTAX = _fault(400, "AutoScalingFormulaSyntaxError", "The specified auto-scaling formula has a syntax error.")
FORMULA_TOO_LONG = _fault(
    400, "AutoScalingFormulaTooLong", "The specified auto-scaling formula exceeds the length limit."
)
INVALID_AUTHENTICATION = _fault(
    400,
    "InvalidAuthenticationInfo",
    "The authentication information was not provided in the correct format. Verify the value of Authorization header.",
)
AUTHENTICATION_FAILED = _fault(
    403,
    "AuthenticationFailed",
    "Server failed to authenticate the request. "
    "Make sure the value of Authorization header is formed correctly including the signature.",
)
BEARER_REFUSED = _fault(401, AUTHENTICATION_FAILED.code, AUTHENTICATION_FAILED.sentence)

POOL_NOT_FOUND = _fault(404, "PoolNotFound", "The specified pool does not exist.")  # recorded
NODE_NOT_FOUND = _fault(404, "NodeNotFound", "The specified node does not exist.")
NODE_USER_NOT_FOUND = _fault(404, "NodeUserNotFound", "The specified node user does not exist.")
APPLICATION_NOT_FOUND = _fault(404, "ApplicationNotFound", "The specified application does not exist.")
JOB_NOT_FOUND = _fault(404, "JobNotFound", "The specified job does not exist.")
JOB_SCHEDULE_NOT_FOUND = _fault(404, "JobScheduleNotFound", "The specified job schedule does not exist.")
TASK_NOT_FOUND = _fault(404, "TaskNotFound", "The specified task does not exist.")
FILE_NOT_FOUND = _fault(404, "FileNotFound", "The specified file does not exist.")
RESOURCE_NOT_FOUND = _fault(404, "ResourceNotFound", "The specified resource does not exist.")
ACCOUNT_RESOURCE_NOT_FOUND = _fault(
    404,
    "ResourceNotFound",
    "The Resource 'Microsoft.Batch/batchAccounts/{account}' under resource group '{group}' was not found.",
)
UNSUPPORTED_MANAGEMENT_VERSION = _fault(
    400, "InvalidApiVersionParameter", "The api-version '{version}' is invalid. The supported versions are '{known}'."
)
UNSUPPORTED_VERB = _fault(405, "UnsupportedHttpVerb", "The resource doesn't support the specified HTTP verb.")

POOL_EXISTS = _fault(409, "PoolExists", "The specified pool already exists.")  # recorded
RESOURCE_IS_THERE = _fault(
    412, "PreconditionFailed", "The condition '*' set for header If-None-Match is not satisfied."
)
JOB_EXISTS = _fault(409, "JobExists", "The specified job already exists.")  # recorded
JOB_SCHEDULE_EXISTS = _fault(409, "JobScheduleExists", "The specified job schedule already exists.")
JOB_WITH_SAME_ID = _fault(
    409, "JobWithSameIdExists", "A job schedule cannot have the same id as that of an existing job."
)
JOB_SCHEDULE_WITH_SAME_ID = _fault(
    409, "JobScheduleWithSameIdExists", "A job cannot have the same id as that of an existing job schedule."
)
ACTIVE_JOB_QUOTA = _fault(
    409,
    "ActiveJobAndScheduleQuotaReached",
    "The active job and job schedule quota for the account has been reached.",
)
TASK_EXISTS = _fault(409, "TaskExists", "The specified task already exists.")
TASK_IS_PREPARATION = _fault(
    409, "TaskIdSameAsJobPreparationTask", "A task cannot have the same id as that of the job preparation task."
)
TASK_IS_RELEASE = _fault(
    409, "TaskIdSameAsJobReleaseTask", "A task cannot have the same id as that of the job release task."
)
POOL_BEING_DELETED = _fault(
    409, "PoolBeingDeleted", "The specified pool has been marked for deletion and is being reclaimed."
)
POOL_BEING_RESIZED = _fault(409, "PoolBeingResized", "The specified pool is being resized.")
OPERATION_INVALID_FOR_STATE = _fault(
    409,
    "OperationInvalidForCurrentState",
    "The specified operation is not valid for the current state of the resource.",
)
OPERATION_NOT_VALID_ON_POOL = _fault(
    409, "OperationNotValidOnPool", "The specified operation is not valid on the pool."
)
INVALID_PACKAGES = _fault(
    409,
    "InvalidApplicationPackageReferences",
    "One or more application package references could not be satisfied.",
)
NODE_BEING_CREATED = _fault(409, "NodeBeingCreated", "The specified node is being created.")
NODE_BEING_STARTED = _fault(409, "NodeBeingStarted", "The specified node is being started.")
NODE_BEING_REBOOTED = _fault(409, "NodeBeingRebooted", "The specified node is being rebooted.")
NODE_BEING_REIMAGED = _fault(409, "NodeBeingReimaged", "The specified node is being reimaged.")
NODE_UNUSABLE = _fault(409, "NodeStateUnusable", "The state of the specified node is unusable.")
NODE_IN_SCHEDULING_STATE = _fault(
    409, "NodeAlreadyInTargetSchedulingState", "The specified node is already in the target scheduling state."
)
NODE_USER_EXISTS = _fault(409, "NodeUserExists", "The specified node user already exists.")
JOB_BEING_DELETED = _fault(
    409, "JobBeingDeleted", "The specified job has been marked for deletion and is being garbage collected."
)
JOB_BEING_TERMINATED = _fault(409, "JobBeingTerminated", "The specified job is being terminated.")
JOB_NOT_ACTIVE = _fault(409, "JobNotActive", "The specified job is not in an active state.")
JOB_COMPLETED = _fault(409, "JobCompleted", "The specified job is already in a completed state.")
JOB_SCHEDULE_BEING_DELETED = _fault(
    409,
    "JobScheduleBeingDeleted",
    "The specified job schedule has been marked for deletion and is being garbage collected.",
)
JOB_SCHEDULE_BEING_TERMINATED = _fault(
    409, "JobScheduleBeingTerminated", "The specified job schedule is being terminated."
)
JOB_SCHEDULE_COMPLETED = _fault(
    409, "JobScheduleCompleted", "The specified job schedule is already in a completed state."
)
NO_SPECIAL_TASKS = _fault(  # recorded
    409,
    "JobPreparationTaskOrReleaseTaskNotSpecified",
    "The specified job does not have either job preparation task or job release task.",
)
TASK_NOT_COMPLETED = _fault(409, "TaskNotCompleted", "The specified task has not completed.")
TASK_SUCCEEDED = _fault(409, "TaskSucceeded", "The specified task has already completed successfully.")
TASK_COMPLETED = _fault(409, "TaskCompleted", "The specified task is already in a completed state.")
TASK_FILES_CLEANED_UP = _fault(
    409, "TaskFilesCleanedup", "The task files have been cleaned up because the retention time is over."
)
TASK_FILES_UNAVAILABLE = _fault(
    409, "TaskFilesUnavailable", "The task files are unavailable because the task has not run on a node."
)
IO_ERROR = _fault(403, "IOError", "An I/O error occurred when accessing the specified resource.")
BODY_TOO_LARGE = _fault(413, "RequestBodyTooLarge", "The size of the request body exceeds the maximum size permitted.")
INVALID_RANGE = _fault(416, "InvalidRange", "The range specified is invalid for the current size of the resource.")
TOO_MANY_REQUESTS = _fault(429, "TooManyRequests", "Too many requests have been made to the account.")
SERVER_BUSY = _fault(
    503, "ServerBusy", "The server is currently unable to receive requests. Please retry your request."
)
INTERNAL_ERROR = _fault(500, "InternalError", "The server encountered an internal error. Please retry the request.")
TOO_MANY_ENABLES = _fault(
    503, "TooManyEnableAutoScaleRequests", "Too many Enable Pool AutoScale requests are issued on the pool."
)
NOT_EMULATED = _fault(501, "NotEmulated", "The local Azure Batch service does not emulate {what}.")


def refusal(code: str) -> Fault:
    """409 with this code, in the words that it has here, if any."""
    known = (fault for fault in globals().values() if isinstance(fault, Fault) and fault.status == 409)
    return next((fault for fault in known if fault.code == code), _fault(409, code, "The request was refused."))


def invalid_property(name: str, value: object, reason: str) -> ServiceFault:
    """400 InvalidPropertyValue that names the property, its value and the reason."""
    return ServiceFault(
        INVALID_PROPERTY_VALUE, (("PropertyName", name), ("PropertyValue", str(value)), ("Reason", reason))
    )


def invalid_query(name: str, value: str, reason: str, fault: Fault = INVALID_QUERY_VALUE) -> ServiceFault:
    """400 InvalidQueryParameterValue that names the parameter, its value and the reason."""
    return ServiceFault(fault, (("QueryParameterName", name), ("QueryParameterValue", value), ("Reason", reason)))


def not_emulated(what: str) -> ServiceFault:
    """501 NotEmulated that names the feature."""
    return ServiceFault(NOT_EMULATED, what=what)
