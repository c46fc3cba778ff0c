"""What templates beside a deployment's own share: they are deployed by hand, each with parameters of its own."""

from __future__ import annotations

from troposphere import Parameter, Template

from cloudformation.config import ENVIRONMENTS


def new_template(description: str) -> Template:
    """Return a template with the parameters that name every part."""
    template = Template()
    template.set_version("2010-09-09")
    template.set_description(description)
    add_parameter(
        template,
        Parameter("ProjectName", Type="String", Default="mlapi", Description="Prefix of names and tags."),
    )
    add_parameter(
        template,
        Parameter(
            "EnvironmentName",
            Type="String",
            Default="dev",
            AllowedValues=list(ENVIRONMENTS),
            Description="dev, staging or prod.",
        ),
    )
    return template


def add_parameter(template: Template, parameter: Parameter) -> None:
    """Add a parameter under a label that says the same in words."""
    template.add_parameter(parameter)
    template.add_parameter_to_group(parameter, "Parameters")
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in parameter.title).strip()
    template.set_parameter_label(parameter, words.capitalize())
