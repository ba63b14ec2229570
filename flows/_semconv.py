"""Names of spans, attributes and metrics: OpenTelemetry's messaging conventions, and our own beside them.

Copied as text: the package that holds them is a beta whose modules are private.
"""

from __future__ import annotations

from typing import Final

SYSTEM: Final = "messaging.system"
OPERATION_NAME: Final = "messaging.operation.name"
OPERATION_TYPE: Final = "messaging.operation.type"
DESTINATION: Final = "messaging.destination.name"
"""The queue."""
MESSAGE_ID: Final = "messaging.message.id"
"""The job's id in its flow."""
CONVERSATION_ID: Final = "messaging.message.conversation_id"
"""The run's id."""
MESSAGE_COUNT: Final = "messaging.batch.message_count"
"""On the span of a run: how many jobs its flow has."""
CLIENT_ID: Final = "messaging.client.id"
"""The worker."""
ERROR_TYPE: Final = "error.type"

EXCEPTION: Final = "exception"
EXCEPTION_TYPE: Final = "exception.type"
EXCEPTION_MESSAGE: Final = "exception.message"
EXCEPTION_STACKTRACE: Final = "exception.stacktrace"

FLOW: Final = "flows.flow.name"
TASK: Final = "flows.task.name"
ATTEMPT: Final = "flows.task.attempt"
"""1 for the first try."""
OUTCOME: Final = "flows.outcome"
"""How a run ended; how an attempt ended that did not complete; how a job ended, on metrics."""
STATE: Final = "flows.job.state"
RELATION: Final = "flows.link.relation"
"""On a link: ``dependency`` or ``previous_attempt``."""
DEPENDENCY_COUNT: Final = "flows.dependency.count"
"""How many results an attempt took, where there are more than it has links."""

LINK_LIMIT: Final = 128
"""Links of a span at most: what SDKs keep unless told otherwise."""

PROCESS_DURATION: Final = "messaging.process.duration"
JOB_WAIT: Final = "flows.job.wait"
JOB_ATTEMPTS: Final = "flows.job.attempts"
JOB_OUTCOMES: Final = "flows.job.outcomes"
QUEUE_DEPTH: Final = "flows.queue.depth"

DURATION_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
ATTEMPT_BUCKETS: Final = (1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0)
