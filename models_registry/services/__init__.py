"""What can be done to the registry; nothing else writes to it.

A command, a click in the admin, a call of the API and the watcher all come through here, so they are the same act.
"""

from models_registry.services.activation import activate, deactivate, roll_back, rollback_target
from models_registry.services.catalogue import (
    get_model,
    get_version,
    register_model,
    set_acceleration,
    set_description,
    set_policy,
)
from models_registry.services.checking import check_next, check_now, check_version, recheck, versions_to_check
from models_registry.services.discovery import DiscoveryResult, discover
from models_registry.services.keys import (
    StoredKey,
    count_live_hosts,
    create_key,
    get_key,
    read_keys,
    record_key_uses,
    revoke_key,
)
from models_registry.services.leases import claim_lease, finish_lease
from models_registry.services.listing import describe_model, describe_version, list_models
from models_registry.services.publishing import publish
from models_registry.services.replicas import (
    Rollout,
    RolloutReplica,
    beat,
    forget_replica,
    report_replica,
    rollout,
    wait_for_rollout,
)
from models_registry.services.verdicts import open_check, wait_for_verdict
from models_registry.services.wishes import Wish, Wishes, read_wishes

__all__ = [
    "DiscoveryResult",
    "Rollout",
    "RolloutReplica",
    "StoredKey",
    "Wish",
    "Wishes",
    "activate",
    "beat",
    "check_next",
    "check_now",
    "check_version",
    "claim_lease",
    "count_live_hosts",
    "create_key",
    "deactivate",
    "describe_model",
    "describe_version",
    "discover",
    "finish_lease",
    "forget_replica",
    "get_key",
    "get_model",
    "get_version",
    "list_models",
    "open_check",
    "publish",
    "read_keys",
    "read_wishes",
    "recheck",
    "record_key_uses",
    "register_model",
    "report_replica",
    "revoke_key",
    "roll_back",
    "rollback_target",
    "rollout",
    "set_acceleration",
    "set_description",
    "set_policy",
    "versions_to_check",
    "wait_for_rollout",
    "wait_for_verdict",
]
