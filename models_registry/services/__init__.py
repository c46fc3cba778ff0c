"""What can be done to the registry; nothing else writes to it.

A command, a click in the admin, a call of the API and the reconciler all come through here, so they are the same act.
"""

from models_registry.inference.desired_version import DesiredVersion, VersionDetails
from models_registry.services.activation import (
    activate,
    deactivate,
    latest_activations,
    roll_back,
    rollback_target,
)
from models_registry.services.api_keys import (
    StoredKey,
    count_live_hosts,
    create_key,
    digest_of_key,
    get_key,
    read_keys,
    record_key_uses,
    revoke_key,
)
from models_registry.services.archiving import archive, restore
from models_registry.services.asking import ask_version
from models_registry.services.batches import (
    cancel_batch,
    claim_batch,
    describe_batch,
    get_batch,
    release_batch,
    report_batch,
    start_batch,
)
from models_registry.services.canaries import (
    MAX_BAKE_MINUTES,
    CandidateReplica,
    candidate_replicas,
    current_canary,
    end_canary,
    open_traffic,
    promote,
    roll_back_canary,
    running_canary,
    start_canary,
    wait_for_canary,
)
from models_registry.services.canary_watch import Comparison, compare, watch_canaries
from models_registry.services.captures import read_captures, set_capture
from models_registry.services.catalogue import (
    get_model,
    get_version,
    register_model,
    set_acceleration,
    set_description,
    set_latest_canary,
    set_policy,
)
from models_registry.services.deletion import delete_version
from models_registry.services.desired_state import (
    DesiredState,
    DesiredStateChanges,
    read_changes,
    read_desired_model,
    read_desired_state,
    read_details,
    read_revision,
    record_change,
)
from models_registry.services.discovery import DiscoveryResult, discover
from models_registry.services.drift import drift_report
from models_registry.services.drift_watch import check_drift_next
from models_registry.services.examination import fetch_artifact
from models_registry.services.labels import set_aliases, set_card, set_notes, set_tags
from models_registry.services.leases import claim_lease, finish_lease
from models_registry.services.listing import all_models, describe_model, describe_version, list_models
from models_registry.services.logged_rows import logged_rows
from models_registry.services.mlflow_registry import follow_mlflow, parse_source
from models_registry.services.publishing import publish
from models_registry.services.quality import QualityReport, quality_content, quality_report
from models_registry.services.replays import (
    ReplayRequest,
    get_replay,
    has_ended,
    replay_content,
    replay_next,
    request_replay,
    run_replay,
    run_version,
    wait_for_replay,
)
from models_registry.services.rollout import (
    Rollout,
    RolloutReplica,
    beat,
    forget_replica,
    report_replica,
    rollout,
    rollouts,
    wait_for_rollout,
    write_reports,
)
from models_registry.services.rollout_events import note_rollouts
from models_registry.services.shadows import (
    ShadowCounts,
    ShadowFigures,
    current_shadow,
    end_shadow,
    get_running_shadow,
    note_shadow_problem,
    read_shadows,
    record_shadow_counts,
    shadow_figures,
    shadow_obstacle,
    start_shadow,
)
from models_registry.services.stored_bytes import copier
from models_registry.services.validation import (
    check_next,
    check_now,
    check_version,
    recheck,
    versions_to_check,
)
from models_registry.services.verdicts import open_check, wait_for_verdict
from models_registry.services.webhooks import deliver_due, record_event

__all__ = [
    "MAX_BAKE_MINUTES",
    "CandidateReplica",
    "Comparison",
    "DesiredState",
    "DesiredStateChanges",
    "DesiredVersion",
    "DiscoveryResult",
    "QualityReport",
    "ReplayRequest",
    "Rollout",
    "RolloutReplica",
    "ShadowCounts",
    "ShadowFigures",
    "StoredKey",
    "VersionDetails",
    "activate",
    "all_models",
    "archive",
    "ask_version",
    "beat",
    "cancel_batch",
    "candidate_replicas",
    "check_drift_next",
    "check_next",
    "check_now",
    "check_version",
    "claim_batch",
    "claim_lease",
    "compare",
    "copier",
    "count_live_hosts",
    "create_key",
    "current_canary",
    "current_shadow",
    "deactivate",
    "delete_version",
    "deliver_due",
    "describe_batch",
    "describe_model",
    "describe_version",
    "digest_of_key",
    "discover",
    "drift_report",
    "end_canary",
    "end_shadow",
    "fetch_artifact",
    "finish_lease",
    "follow_mlflow",
    "forget_replica",
    "get_batch",
    "get_key",
    "get_model",
    "get_replay",
    "get_running_shadow",
    "get_version",
    "has_ended",
    "latest_activations",
    "list_models",
    "logged_rows",
    "note_rollouts",
    "note_shadow_problem",
    "open_check",
    "open_traffic",
    "parse_source",
    "promote",
    "publish",
    "quality_content",
    "quality_report",
    "read_captures",
    "read_changes",
    "read_desired_model",
    "read_desired_state",
    "read_details",
    "read_keys",
    "read_revision",
    "read_shadows",
    "recheck",
    "record_change",
    "record_event",
    "record_key_uses",
    "record_shadow_counts",
    "register_model",
    "release_batch",
    "replay_content",
    "replay_next",
    "report_batch",
    "report_replica",
    "request_replay",
    "restore",
    "revoke_key",
    "roll_back",
    "roll_back_canary",
    "rollback_target",
    "rollout",
    "rollouts",
    "run_replay",
    "run_version",
    "running_canary",
    "set_acceleration",
    "set_aliases",
    "set_capture",
    "set_card",
    "set_description",
    "set_latest_canary",
    "set_notes",
    "set_policy",
    "set_tags",
    "shadow_figures",
    "shadow_obstacle",
    "start_batch",
    "start_canary",
    "start_shadow",
    "versions_to_check",
    "wait_for_canary",
    "wait_for_replay",
    "wait_for_rollout",
    "wait_for_verdict",
    "watch_canaries",
    "write_reports",
]
