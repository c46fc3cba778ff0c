"""The routes of the registry's API."""

from django.urls import re_path

from mlapi.api import batches, monitoring, texts, traffic, trying, uploads, views
from models_registry.inference.routing import ALIAS_PATTERN

# The syntax of model names: other paths are a 404 without a database query.
NAME = r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]{0,99})"
# Number or alias of a version.
NUMBER = rf"(?P<number>(?:[1-9][0-9]{{0,8}}|{ALIAS_PATTERN}))"
# Replays and batches have no aliases.
ID = r"(?P<number>[1-9][0-9]{0,8})"

urlpatterns = [
    re_path(r"^models$", views.ModelsView.as_view(), name="api-models"),
    re_path(rf"^models/{NAME}$", views.ModelView.as_view(), name="api-model"),
    re_path(rf"^models/{NAME}/card/history$", texts.CardHistoryView.as_view(), name="api-card-history"),
    re_path(rf"^models/{NAME}/versions$", uploads.VersionsView.as_view(), name="api-versions"),
    re_path(rf"^models/{NAME}/versions/{NUMBER}$", views.VersionView.as_view(), name="api-version"),
    re_path(rf"^models/{NAME}/versions/{NUMBER}/try$", trying.TryView.as_view(), name="api-try"),
    re_path(rf"^models/{NAME}/versions/{NUMBER}/artifact$", views.ArtifactView.as_view(), name="api-artifact"),
    re_path(
        rf"^models/{NAME}/versions/{NUMBER}/notes/history$", texts.NotesHistoryView.as_view(), name="api-notes-history"
    ),
    re_path(rf"^models/{NAME}/activate$", views.ActivateView.as_view(), name="api-activate"),
    re_path(rf"^models/{NAME}/deactivate$", views.DeactivateView.as_view(), name="api-deactivate"),
    re_path(rf"^models/{NAME}/archive$", views.ArchiveView.as_view(), name="api-archive"),
    re_path(rf"^models/{NAME}/restore$", views.RestoreView.as_view(), name="api-restore"),
    re_path(rf"^models/{NAME}/rollback$", views.RollbackView.as_view(), name="api-rollback"),
    re_path(rf"^models/{NAME}/rollout$", views.RolloutView.as_view(), name="api-rollout"),
    re_path(rf"^models/{NAME}/usage$", monitoring.UsageView.as_view(), name="api-usage"),
    re_path(rf"^models/{NAME}/drift$", monitoring.DriftView.as_view(), name="api-drift"),
    re_path(rf"^models/{NAME}/quality$", monitoring.QualityView.as_view(), name="api-quality"),
    re_path(rf"^models/{NAME}/traffic$", traffic.TrafficView.as_view(), name="api-traffic"),
    re_path(rf"^models/{NAME}/shadow$", traffic.ShadowView.as_view(), name="api-shadow"),
    re_path(rf"^models/{NAME}/promote$", traffic.PromoteView.as_view(), name="api-promote"),
    re_path(rf"^models/{NAME}/replays$", monitoring.ReplaysView.as_view(), name="api-replays"),
    re_path(rf"^models/{NAME}/replays/{ID}$", monitoring.ReplayView.as_view(), name="api-replay"),
    re_path(rf"^models/{NAME}/batches$", batches.BatchesView.as_view(), name="api-batches"),
    re_path(rf"^models/{NAME}/batches/{ID}$", batches.BatchView.as_view(), name="api-batch"),
    re_path(r"^sync$", views.SyncView.as_view(), name="api-sync"),
]
