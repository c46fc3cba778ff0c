"""PostgreSQL for the registry: private, encrypted, TLS only, kept as a snapshot when the stack goes."""

from __future__ import annotations

from dataclasses import dataclass

from troposphere import Equals, If, Not, NoValue, Ref, Split, Sub, Template, rds
from troposphere import secretsmanager as sm

from cloudformation.key import key_or
from cloudformation.links import imported, refused_controls, skipped_checks, tags
from cloudformation.parameters import NETWORK_STACK
from cloudformation.secrets import DATABASE_NAME, HAS_DATABASE, MASTER_USER, Secrets

IS_PROD, FROM_SNAPSHOT = "IsProd", "FromSnapshot"
_REFUSED = {
    **dict.fromkeys(("RDS.9", "RDS.36"), "RDS keeps its log for three days; CloudWatch bills by the GB"),
    **dict.fromkeys(("RDS.20", "RDS.21"), "The alarms watch it; RDS keeps its own events for 14 days"),
    "RDS.23": "The port is open to the tasks alone; another one would add nothing",
}
_GIBIBYTES, _MAX_GIBIBYTES = 20, 100


@dataclass(frozen=True, slots=True)
class Database:
    instance: rds.DBInstance


def add_database(template: Template, secrets: Secrets) -> Database:
    """Add the instance with its subnets, its settings and its credentials, where a database is wanted."""
    subnets = template.add_resource(
        rds.DBSubnetGroup(
            "DatabaseSubnets",
            Condition=HAS_DATABASE,
            DBSubnetGroupDescription="The private subnets",
            SubnetIds=Split(",", imported(NETWORK_STACK, "PrivateSubnets")),
            Tags=tags("database"),
        )
    )
    settings = template.add_resource(
        rds.DBParameterGroup(
            "DatabaseSettings",
            Condition=HAS_DATABASE,
            Family="postgres17",
            Description="Refuses connections without TLS",
            Parameters={"rds.force_ssl": "1", "log_min_duration_statement": "1000"},
            Tags=tags("database"),
        )
    )
    instance = template.add_resource(_instance(subnets, settings, secrets))
    template.add_resource(
        sm.SecretTargetAttachment(
            "DatabaseCredentialsTarget",
            Condition=HAS_DATABASE,
            SecretId=Ref(secrets.database),
            TargetId=Ref(instance),
            TargetType="AWS::RDS::DBInstance",
        )
    )
    return Database(instance)


def _instance(subnets: rds.DBSubnetGroup, settings: rds.DBParameterGroup, secrets: Secrets) -> rds.DBInstance:
    password = Sub(f"{{{{resolve:secretsmanager:${{{secrets.database.title}}}:SecretString:password}}}}")
    return rds.DBInstance(
        "Database",
        Condition=HAS_DATABASE,
        DeletionPolicy="Snapshot",
        UpdateReplacePolicy="Snapshot",
        Engine="postgres",
        EngineVersion=Ref("DatabaseEngineVersion"),
        AutoMinorVersionUpgrade=True,
        DBInstanceClass=Ref("DatabaseInstanceClass"),
        # A snapshot brings its database and its master along; CloudFormation wants neither named then.
        DBSnapshotIdentifier=If(FROM_SNAPSHOT, Ref("DatabaseSnapshot"), NoValue),
        DBName=If(FROM_SNAPSHOT, NoValue, DATABASE_NAME),
        MasterUsername=If(FROM_SNAPSHOT, NoValue, MASTER_USER),
        # An explicit secret: one that RDS manages rotates, and running tasks would be locked out.
        MasterUserPassword=password,
        StorageType="gp3",
        AllocatedStorage=str(_GIBIBYTES),
        MaxAllocatedStorage=_MAX_GIBIBYTES,
        StorageEncrypted=True,
        # a snapshot brings its key along
        KmsKeyId=If(FROM_SNAPSHOT, NoValue, key_or()),
        PubliclyAccessible=False,
        DBSubnetGroupName=Ref(subnets),
        VPCSecurityGroups=[imported(NETWORK_STACK, "DatabaseSecurityGroup")],
        DBParameterGroupName=Ref(settings),
        MultiAZ=If(IS_PROD, True, False),
        DeletionProtection=If(IS_PROD, True, False),
        BackupRetentionPeriod=If(IS_PROD, 14, 7),
        CopyTagsToSnapshot=True,
        EnableIAMDatabaseAuthentication=True,
        Tags=tags("database"),
        Metadata=skipped_checks(
            CKV_AWS_118="Enhanced monitoring needs a role and more logs; the alarms watch CPU and storage",
            CKV_AWS_157="Two zones in prod; one in dev and staging, at half the price",
        )
        | refused_controls(_REFUSED),
    )


def add_conditions(template: Template) -> None:
    """Name what the data stack's parameters mean."""
    template.add_condition(HAS_DATABASE, Equals(Ref("CreateDatabase"), "true"))
    template.add_condition(FROM_SNAPSHOT, Not(Equals(Ref("DatabaseSnapshot"), "")))
    template.add_condition(IS_PROD, Equals(Ref("EnvironmentName"), "prod"))
