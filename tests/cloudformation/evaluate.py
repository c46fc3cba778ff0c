"""Decides calls by policies, with the emulator's own evaluation engine; run by the interpreter of .venv-aws.

Reads {"policies": [document, …], "calls": [{"action", "resource", "context"}, …]} and writes a list of decisions:
Allow, Deny (a statement says no) or ImplicitDeny (none says yes).
"""

import json
import sys

from ministack.core.iam_evaluator import EvalContext, evaluate, parse_policy_document

asked = json.load(sys.stdin)
policies = [parse_policy_document(json.dumps(document)) for document in asked["policies"]]
decisions = []
for call in asked["calls"]:
    context = EvalContext(
        principal_arn="arn:aws:sts::123456789012:assumed-role/role/task",
        principal_type="AssumedRole",
        principal_account="123456789012",
        action=call["action"],
        resource_arn=call["resource"],
        region="us-east-1",
        secure_transport=call["context"].pop("aws:SecureTransport", "true") == "true",
        service_context={name.lower(): value for name, value in call["context"].items()},
    )
    decisions.append(evaluate(context, policies).decision)
json.dump(decisions, sys.stdout)
