"""Hashes the tokens that are stored in clear, so that they go on working, and takes them out of the admin's log."""

import base64
import hashlib

from django.db import migrations


def stored_form(token):
    digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
    return ("sha256:" + base64.urlsafe_b64encode(digest).decode())[:40]


def hash_tokens(apps, schema_editor):
    tokens = apps.get_model("authtoken", "Token").objects.using(schema_editor.connection.alias)
    for key in tokens.exclude(key__startswith="sha256:").values_list("key", flat=True):
        tokens.filter(key=key).update(key=stored_form(key))
    log = apps.get_model("admin", "LogEntry").objects.using(schema_editor.connection.alias)
    # The log called each token by its text.
    log.filter(content_type__app_label="authtoken").update(object_repr="API token")


class Migration(migrations.Migration):

    dependencies = [
        ("models_registry", "0005_a_replica_reports_what_it_serves_by_digest"),
        ("authtoken", "0004_alter_tokenproxy_options"),
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [
        # There is no way back to a text from its digest; tokens that an earlier release cannot read are made anew.
        migrations.RunPython(hash_tokens, migrations.RunPython.noop),
    ]
