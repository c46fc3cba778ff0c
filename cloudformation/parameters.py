"""From the tables of parameters to the templates' parameters, and from settings to their values."""

from __future__ import annotations

from troposphere import Parameter, Template

from cloudformation.config import PATTERNS, Settings, parameter_default
from cloudformation.spec import Spec
from cloudformation.specs import TEMPLATE_SPECS, template_of

NETWORK_STACK = "NetworkStack"
DATA_STACK = "DataStack"
SERVICE_STACK = "ServiceStack"
SHIFT_STACK = "ShiftStack"
PARENTS = {
    "network": (),
    "data": (NETWORK_STACK,),
    "service": (NETWORK_STACK, DATA_STACK),
    "service-sign-in": (NETWORK_STACK, DATA_STACK),
    "service-shift": (NETWORK_STACK, DATA_STACK, SHIFT_STACK),
    "service-http-api": (NETWORK_STACK, DATA_STACK),
    "monitoring": (DATA_STACK, SERVICE_STACK),
    "monitoring-http-api": (DATA_STACK, SERVICE_STACK),
}


def stack_name(settings: Settings, stack: str) -> str:
    """Return the name under which a stack is made: `mlapi-dev-network`."""
    return f"{settings.project_name}-{settings.environment_name}-{stack}"


def parameters_of(settings: Settings, stack: str) -> dict[str, str]:
    """Return the parameters with which a stack is deployed, the parents' names among them."""
    template = template_of(stack, settings)
    parents = {name: stack_name(settings, name.removesuffix("Stack").lower()) for name in PARENTS[template]}
    return parents | {spec.name: settings.parameter(spec.name) for spec in TEMPLATE_SPECS[template]}


def add_parameters(template: Template, stack: str) -> None:
    """Give the template its parameters, with the groups and labels that the console shows."""
    for parent in PARENTS[stack]:
        what = parent.removesuffix("Stack").lower()
        _add(
            template,
            Parameter(
                parent,
                Type="String",
                Default=f"{Settings().project_name}-{Settings().environment_name}-{what}",
                Description=f"Name of the {what} stack, whose exports this one uses.",
                AllowedPattern="[A-Za-z][A-Za-z0-9-]{0,127}",
            ),
            group="Stacks below",
            label=f"The {what} stack",
        )
    for spec in TEMPLATE_SPECS[stack]:
        _add(template, _parameter(spec), group=spec.group, label=spec.label)


def _add(template: Template, parameter: Parameter, *, group: str, label: str) -> None:
    template.add_parameter(parameter)
    template.add_parameter_to_group(parameter, group)
    template.set_parameter_label(parameter, label)


def _parameter(spec: Spec) -> Parameter:
    properties: dict[str, object] = {
        "Type": "Number" if spec.is_number else "String",
        "Description": spec.description,
    }
    if spec.name != "ImageTag":  # what runs is always named, never assumed
        properties["Default"] = parameter_default(spec.name)
    if spec.allowed:
        properties["AllowedValues"] = [str(value) for value in spec.allowed]
    if spec.pattern_of:
        pattern, expected = PATTERNS[spec.pattern_of]
        properties["AllowedPattern"] = f"^({pattern})$"
        properties["ConstraintDescription"] = f"expected {expected}"
    if spec.minimum is not None:
        properties["MinValue"] = spec.minimum
    if spec.maximum is not None:
        properties["MaxValue"] = spec.maximum
    return Parameter(spec.name, **properties)
