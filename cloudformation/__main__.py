"""`python -m cloudformation`: write the templates, show the plan and its cost, carry it out, take it back."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from cloudformation import cost, rollout
from cloudformation import plan as plans
from cloudformation.aws import AwsError
from cloudformation.config import ENVIRONMENTS, NETWORK_MODES, PROFILES, ConfigurationError, Settings, require_sound
from cloudformation.stacks import TEMPLATES, stale_templates, write_templates


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit status: 0 done, 1 failed, 2 asked wrongly."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 2
    except AwsError as error:
        print(error, file=sys.stderr)
        return 1
    return status


def _templates(options: argparse.Namespace) -> int:
    if not options.check:
        for path in write_templates(options.folder):
            print(path)
        return 0
    stale = stale_templates(options.folder)
    for path in stale:
        print(f"{path} is not what cloudformation/ makes. Run `make templates` and commit it.", file=sys.stderr)
    return 1 if stale else 0


def _plan(options: argparse.Namespace) -> int:
    settings = _settings(options)
    rollout.require_image_tag(settings)
    deployments = plans.plan(settings)
    if options.json:
        print(json.dumps([deployment.as_json() for deployment in deployments], indent=2))
    else:
        print(plans.as_text(deployments))
    return 0


def _deploy(options: argparse.Namespace) -> int:
    settings = _settings(options)
    if options.dry_run:
        print("\n\n".join(rollout.dry_run(settings, options.base_image)))
    else:
        rollout.deploy(settings, options.base_image)
    return 0


def _destroy(options: argparse.Namespace) -> int:
    settings = _settings(options)
    if options.dry_run:
        print("\n\n".join(rollout.destroy_dry_run(settings)))
    else:
        rollout.destroy(settings)
    return 0


def _cost(options: argparse.Namespace) -> int:
    settings = _settings(options)
    require_sound(settings)
    print(json.dumps(cost.as_json(settings), indent=2) if options.json else cost.as_text(settings))
    return 0


def _settings(options: argparse.Namespace) -> Settings:
    """Return the environment's settings with what was asked for on top, the last word being --set's."""
    settings = Settings.for_environment(options.env, profile=options.profile, region=options.region)
    assignments = [*options.set]
    for name, value in (("NetworkMode", options.network_mode), ("ImageTag", options.image_tag)):
        if value:
            assignments.insert(0, f"{name}={value}")
    return settings.with_assignments(assignments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m cloudformation", description=__doc__)
    parser.set_defaults(run=_templates, check=False, folder=TEMPLATES)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    templates = commands.add_parser("templates", help="write the three templates (the default)")
    templates.add_argument("--check", action="store_true", help="fail when the written ones are stale; write nothing")
    templates.add_argument("--folder", type=Path, default=TEMPLATES, help="where they are written")
    templates.set_defaults(run=_templates)

    chosen = _deployment_options()
    plan = commands.add_parser("plan", parents=[chosen], help="show the stacks, their parameters and commands")
    plan.add_argument("--json", action="store_true", help="for programs")
    plan.set_defaults(run=_plan)

    deploy = commands.add_parser("deploy", parents=[chosen], help="network, data, image, service; resumable")
    deploy.add_argument("--dry-run", action="store_true", help="print the commands only")
    deploy.add_argument("--base-image", default="", help="what the image is built on (default: the Dockerfile's own)")
    deploy.set_defaults(run=_deploy)

    destroy = commands.add_parser("destroy", parents=[chosen], help="delete the stacks, and say what stays")
    destroy.add_argument("--dry-run", action="store_true", help="print the commands only")
    destroy.set_defaults(run=_destroy)

    bill = commands.add_parser("cost", parents=[chosen], help="the month's bill, line by line")
    bill.add_argument("--json", action="store_true", help="for programs")
    bill.set_defaults(run=_cost)
    return parser


def _deployment_options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--env", default="dev", choices=ENVIRONMENTS, help="environment (default dev)")
    options.add_argument("--region", default=_default_region(), help="AWS region (default: %(default)s)")
    options.add_argument("--profile", default="", help=f"a size: {', '.join(PROFILES)} (default: the templates' own)")
    options.add_argument("--network-mode", choices=NETWORK_MODES, help="how tasks reach AWS (default public)")
    options.add_argument("--image-tag", help="tag of the image to run")
    options.add_argument("--set", action="append", default=[], metavar="Name=Value", help="a template parameter")
    return options


def _default_region() -> str:
    import os

    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"


if __name__ == "__main__":
    sys.exit(main())
