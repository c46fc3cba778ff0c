"""`python -m cloudformation`: write the templates, show the plan and its cost, carry it out, take it back."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

from cloudformation import cost, environments, preflight, promotion, replay, rollout, smoke_test
from cloudformation import plan as plans
from cloudformation.aws import Aws, AwsError
from cloudformation.changes import preview, require_data_kept
from cloudformation.config import ENVIRONMENTS, NETWORK_MODES, PROFILES, ConfigurationError, Settings
from cloudformation.problems import require_sound
from cloudformation.resolution import NOTHING, Deployed, Request, names_of, requested
from cloudformation.stacks import TEMPLATES, stale_templates, write_templates
from cloudformation.standing import deployed_stacks, is_unreachable


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit status: 0 done, 1 failed, 2 asked wrongly."""
    options = parser().parse_args(arguments)
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
    settings, deployed, is_asked = _planned(options)
    rollout.require_image_tag(settings)
    deployments = plans.plan(settings, deployed)
    previews = [preview(Aws(settings.region), deployment) for deployment in deployments] if is_asked else []
    if options.json:
        print(json.dumps([deployment.as_json() for deployment in deployments], indent=2))
    else:
        print(plans.as_text(deployments, {seen.stack: str(seen) for seen in previews}))
    require_data_kept(previews, options.allow_data_loss)
    return 0


def _deploy(options: argparse.Namespace) -> int:
    if options.dry_run:
        settings, deployed, _ = _planned(options)
        print("\n\n".join(rollout.dry_run(settings, deployed, options.base_image)))
        return 0
    settings, deployed = _asked(options)
    consent = rollout.Consent(data_loss=tuple(options.allow_data_loss), despite_alarms=options.despite_alarms)
    rollout.deploy(settings, deployed, options.base_image, consent)
    return 0


def _promote(options: argparse.Namespace) -> int:
    """Deploy the image that another environment runs, once its scan and its processor have been looked at."""
    options.image_tag = None
    target, deployed = _asked(options)
    source = replace(target, environment_name=options.source)
    aws = Aws(target.region)
    image = promotion.deployed_image(aws, source)
    target_repository = promotion.target_repository(aws, target)
    promotion.require_one_repository(image.repository, target_repository, target.environment_name)
    counts = promotion.require_scanned(aws, image, options.fail_on)
    promotion.require_architecture(aws, image, target.cpu_architecture)
    print(f"{image.repository}:{image.tag} ({image.digest}), findings of its scan: {counts or 'none'}", flush=True)
    consent = rollout.Consent(data_loss=tuple(options.allow_data_loss), despite_alarms=options.despite_alarms)
    rollout.deploy(replace(target, image_tag=image.tag, image_digest=image.digest), deployed, consent=consent)
    return 0


def _smoke(options: argparse.Namespace) -> int:
    """Ask each model of a running service for its own example."""
    settings = _settings(options)
    url = Aws(settings.region).outputs(names_of(settings)["service"])["Url"]
    found = smoke_test.problems(smoke_test.Target(url))
    for problem in found:
        print(problem, file=sys.stderr)
    if not found:
        print(f"{url} is ready, and each of its models answers its own example.")
    return 1 if found else 0


def _replay(options: argparse.Namespace) -> int:
    """Replay each model of a running service; fail where too much changes."""
    token = os.environ.get("MLAPI_TOKEN")
    if not token:
        raise ConfigurationError(
            "MLAPI_TOKEN is not set. Give it the token of an account that may view models and activate versions."
        )
    settings = _settings(options)
    url = Aws(settings.region).outputs(names_of(settings)["service"])["Url"]
    target = smoke_test.Target(url, headers={"Authorization": f"Bearer {token}"})
    found = replay.problems(target, tolerate=options.tolerate, say=print)
    for problem in found:
        print(problem, file=sys.stderr)
    return 1 if found else 0


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
    answer = cost.as_json if options.json else cost.as_text
    said = answer(settings, options.per_minute)
    print(said if isinstance(said, str) else json.dumps(said, indent=2))
    return 0


def _settings(options: argparse.Namespace, deployed: Deployed = NOTHING) -> Settings:
    """Return the settings that are asked for, over what is deployed."""
    named = (("NetworkMode", options.network_mode), ("ImageTag", options.image_tag))
    request = Request(
        environment=options.env,
        region=options.region,
        region_of_shell=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "",
        profile=options.profile,
        assignments=(*(f"{name}={value}" for name, value in named if value), *options.set),
        unset=tuple(options.unset),
    )
    settings = requested(request, environments.read(options.env), deployed)
    return replace(settings, role_arn=options.role_arn)


def _asked(options: argparse.Namespace) -> tuple[Settings, Deployed]:
    """Return the settings over what AWS says is deployed, and that."""
    first = _settings(options)
    aws, names = Aws(first.region), names_of(first)
    deployed = deployed_stacks(aws, names)
    settings = _settings(options, deployed)
    if "service" in deployed.stacks:
        live = preflight.live_target_group(aws, names["service"])
        if settings.deployment_strategy == "ROLLING":
            preflight.require_main_is_live(live)
        settings = replace(settings, live_target_group=live)
    return settings, deployed


def _planned(options: argparse.Namespace) -> tuple[Settings, Deployed, bool]:
    """Return the same where AWS can be asked; else the settings of a first deployment, and False."""
    try:
        return *_asked(options), True
    except AwsError as error:
        if not is_unreachable(error):
            raise
        print(
            f"AWS was not asked, so this is what a first deployment gets, and a deployed stack may have other values. "
            f"The reason: {error}",
            file=sys.stderr,
        )
    return _settings(options), NOTHING, False


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    top = argparse.ArgumentParser(prog="python -m cloudformation", description=__doc__)
    top.set_defaults(run=_templates, check=False, folder=TEMPLATES)
    commands = top.add_subparsers(title="commands", metavar="COMMAND")

    templates = commands.add_parser("templates", help="write the templates (the default)")
    templates.add_argument("--check", action="store_true", help="fail when the written ones are stale; write nothing")
    templates.add_argument("--folder", type=Path, default=TEMPLATES, help="where they are written")
    templates.set_defaults(run=_templates)

    chosen = _deployment_options()
    plan = commands.add_parser("plan", parents=[chosen], help="show the stacks, their parameters and commands")
    plan.add_argument("--json", action="store_true", help="for programs")
    plan.set_defaults(run=_plan)

    deploy = commands.add_parser("deploy", parents=[chosen], help="network, data, image, service; resumable")
    deploy.add_argument("--dry-run", action="store_true", help="print the commands only")
    deploy.add_argument(
        "--despite-alarms", action="store_true", help="deploy while an alarm is on that would roll it back"
    )
    promote = commands.add_parser("promote", parents=[chosen], help="deploy the image that another environment runs")
    promote.add_argument(
        "--from", dest="source", default="dev", choices=ENVIRONMENTS, help="environment that runs it (default dev)"
    )
    promote.add_argument(
        "--fail-on", default="CRITICAL", choices=promotion.SEVERITIES,
        help="least severity of a scan's finding that stops it (default CRITICAL)",
    )  # fmt: skip
    promote.add_argument("--despite-alarms", action="store_true", help="as for deploy")
    promote.set_defaults(run=_promote)

    smoke = commands.add_parser("smoke", parents=[chosen], help="ask each model of the service for its own example")
    smoke.set_defaults(run=_smoke)

    again = commands.add_parser("replay", parents=[chosen], help="replay each model; fail where too much changes")
    again.add_argument(
        "--tolerate", type=float, default=0.0, metavar="PERCENT", help="rows that may change (default 0)"
    )
    again.set_defaults(run=_replay)

    for command in (plan, deploy, promote):
        command.add_argument(
            "--allow-data-loss", action="append", default=[], metavar="Resource",
            help="let this resource, which holds data, be replaced or removed",
        )  # fmt: skip
    deploy.add_argument("--base-image", default="", help="what the image is built on (default: the Dockerfile's own)")
    deploy.set_defaults(run=_deploy)

    destroy = commands.add_parser("destroy", parents=[chosen], help="delete the stacks, and say what stays")
    destroy.add_argument("--dry-run", action="store_true", help="print the commands only")
    destroy.set_defaults(run=_destroy)

    bill = commands.add_parser("cost", parents=[chosen], help="the month's bill, line by line")
    bill.add_argument("--per-minute", type=_requests, help="requests a minute, all month: logs, traffic, tasks")
    bill.add_argument("--json", action="store_true", help="for programs")
    bill.set_defaults(run=_cost)
    return top


def _requests(text: str) -> float:
    number = float(text)
    if not 0 <= number < 1e9:
        raise argparse.ArgumentTypeError(f"{text} requests a minute; expected a number from 0 to a billion")
    return number


def _deployment_options() -> argparse.ArgumentParser:
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument("--env", default="dev", choices=ENVIRONMENTS, help="environment (default dev)")
    options.add_argument("--region", default="", help="AWS region (default: the file's, AWS_REGION, us-east-1)")
    options.add_argument("--profile", default="", help=f"a size: {', '.join(PROFILES)} (default: the templates' own)")
    options.add_argument("--network-mode", choices=NETWORK_MODES, help="how tasks reach AWS (first: public)")
    options.add_argument("--image-tag", help="tag of the image to run (default: the one that runs)")
    options.add_argument(
        "--role-arn", default="", help="role under which CloudFormation makes the stacks (default: your own)"
    )
    options.add_argument("--set", action="append", default=[], metavar="Name=Value", help="a template parameter")
    options.add_argument(
        "--unset", action="append", default=[], metavar="Name", help="take a parameter back to its default"
    )
    return options


if __name__ == "__main__":
    sys.exit(main())
