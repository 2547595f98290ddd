"""What a step that launches a RayJob hands on to it."""

from kfp import dsl

_FOR_THE_JOB_ALONE = (
    dsl.TaskConfigField.RESOURCES,
    dsl.TaskConfigField.KUBERNETES_AFFINITY,
    dsl.TaskConfigField.KUBERNETES_TOLERATIONS,
    dsl.TaskConfigField.KUBERNETES_NODE_SELECTOR,
)
"""What the job's pods get, and the step that waits for them does not."""
_FOR_BOTH = (dsl.TaskConfigField.ENV, dsl.TaskConfigField.KUBERNETES_VOLUMES)
PASSED_ON = [
    *_FOR_THE_JOB_ALONE,
    *(dsl.TaskConfigPassthrough(field, apply_to_task=True) for field in _FOR_BOTH),
]
