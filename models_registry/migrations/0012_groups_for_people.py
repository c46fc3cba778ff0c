"""Three groups that fit most teams, made once; what an administrator has called by these names is left alone."""

from django.db import migrations

VIEWER = [
    ("models_registry", "view_registeredmodel"),
    ("models_registry", "view_modelversion"),
    ("models_registry", "view_activation"),
    ("models_registry", "view_replica"),
    ("models_registry", "try_modelversion"),
]
PUBLISHER = [
    *VIEWER,
    ("models_registry", "publish_modelversion"),
    ("models_registry", "change_registeredmodel"),
    ("models_registry", "download_modelversion"),
]
APPROVER = [
    *VIEWER,
    ("models_registry", "activate_modelversion"),
    ("models_registry", "override_check"),
    ("models_registry", "download_modelversion"),
]
GROUPS = {"viewer": VIEWER, "publisher": PUBLISHER, "approver": APPROVER}
MODEL_OF = {
    "publish_modelversion": "modelversion",
    "activate_modelversion": "modelversion",
    "override_check": "modelversion",
    "try_modelversion": "modelversion",
    "download_modelversion": "modelversion",
}
NAMES = {
    "publish_modelversion": "Can publish versions and look for new ones",
    "activate_modelversion": "Can activate and roll back versions",
    "override_check": "Can activate a version that its check advises against",
    "try_modelversion": "Can ask versions that are not active",
    "download_modelversion": "Can download artifacts",
    "view_registeredmodel": "Can view model",
    "change_registeredmodel": "Can change model",
    "view_modelversion": "Can view version",
    "view_activation": "Can view activation",
    "view_replica": "Can view replica",
}


def make_groups(apps, schema_editor):
    alias = schema_editor.connection.alias
    group_of = apps.get_model("auth", "Group").objects.using(alias)
    for name, permissions in GROUPS.items():
        group, is_new = group_of.get_or_create(name=name)
        if is_new:
            group.permissions.set([permission(apps, alias, *one) for one in permissions])


def permission(apps, alias, app, codename):
    """Return a permission; on a fresh database Django makes them only after the last migration."""
    model = MODEL_OF.get(codename) or codename.partition("_")[2]
    kind, _ = apps.get_model("contenttypes", "ContentType").objects.using(alias).get_or_create(
        app_label=app, model=model
    )
    found, _ = apps.get_model("auth", "Permission").objects.using(alias).get_or_create(
        content_type=kind, codename=codename, defaults={"name": NAMES[codename]}
    )
    return found


class Migration(migrations.Migration):
    dependencies = [
        ("models_registry", "0011_version_parts"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="modelversion",
            options={
                "default_permissions": ("view",),
                "ordering": ["model", "-number"],
                "permissions": [
                    ("publish_modelversion", "Can publish versions and look for new ones"),
                    ("activate_modelversion", "Can activate and roll back versions"),
                    ("try_modelversion", "Can ask versions that are not active"),
                    ("download_modelversion", "Can download artifacts"),
                    ("override_check", "Can activate a version that its check advises against"),
                ],
                "verbose_name": "version",
            },
        ),
        # Groups that people may have changed since stay.
        migrations.RunPython(make_groups, migrations.RunPython.noop),
    ]
