"""The three groups get the rights that came after them; a group that people have changed is left alone."""

from importlib import import_module

from django.db import migrations

groups = import_module("models_registry.migrations.0012_groups_for_people")

# Codename -> (content type's model, words). Django makes these rows only after the last migration.
PERMISSIONS = {
    "view_batchjob": ("batchjob", "Can view batch"),
    "start_batchjob": ("batchjob", "Can start and cancel batch scoring"),
    "view_predictionlog": ("registeredmodel", "Can view logged requests"),
}
ADDED = {
    "viewer": ("view_batchjob",),
    # The log holds callers' rows: it is for those who make and judge versions.
    "publisher": ("view_batchjob", "start_batchjob", "view_predictionlog"),
    "approver": ("view_batchjob", "start_batchjob", "view_predictionlog"),
}


def add_permissions(apps, schema_editor):
    alias = schema_editor.connection.alias
    for group in apps.get_model("auth", "Group").objects.using(alias).filter(name__in=ADDED):
        held = set(group.permissions.values_list("content_type__app_label", "codename"))
        if held == set(groups.GROUPS[group.name]):
            group.permissions.add(*[permission(apps, alias, name) for name in ADDED[group.name]])


def permission(apps, alias, codename):
    """Return the permission of that codename; makes it if Django has not yet."""
    model, words = PERMISSIONS[codename]
    kind, _ = apps.get_model("contenttypes", "ContentType").objects.using(alias).get_or_create(
        app_label="models_registry", model=model
    )
    found, _ = apps.get_model("auth", "Permission").objects.using(alias).get_or_create(
        content_type=kind, codename=codename, defaults={"name": words}
    )
    return found


class Migration(migrations.Migration):
    dependencies = [
        ("models_registry", "0024_a_version_has_a_reference"),
        ("auth", "0012_alter_user_first_name_max_length"),
    ]

    operations = [migrations.RunPython(add_permissions, migrations.RunPython.noop)]
