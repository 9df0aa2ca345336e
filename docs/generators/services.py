"""Blocks of settings for services that run Kafka, a schema registry or MongoDB: `.env.example` and the guide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from generators.markdown import escaped
from generators.markdown import table as markdown_table
from streamapp.settings import variable

_SASL_SSL = {"kafka_security_protocol": "sasl_ssl"}
_SECRETS = "/run/secrets"


@dataclass(frozen=True, kw_only=True)
class Service:
    """One service, or one way to use it.

    Args:
        name: as the service calls itself.
        values: the settings that it needs, by name; in capitals, what to replace.
        terms: what the service calls things, and the setting that takes each.
        notes: what else to know, one sentence each.
    """

    name: str
    values: Mapping[str, str]
    terms: Mapping[str, str]
    notes: tuple[str, ...] = ()


SERVICES = (
    Service(
        name="Confluent Cloud",
        values={
            "kafka_bootstrap_servers": "pkc-ABC12.eu-central-1.aws.confluent.cloud:9092",
            **_SASL_SSL,
            "kafka_sasl_mechanism": "PLAIN",
            "kafka_sasl_username": "CLUSTER-API-KEY",
            "kafka_sasl_password_file": f"{_SECRETS}/kafka-api-secret",
            "schema_registry_url": "https://psrc-ABC12.eu-central-1.aws.confluent.cloud",
            "schema_registry_username": "REGISTRY-API-KEY",
            "schema_registry_password_file": f"{_SECRETS}/registry-api-secret",
        },
        terms={
            "Cluster settings → Bootstrap server": "kafka_bootstrap_servers",
            "API key of the cluster": "kafka_sasl_username",
            "API secret of the cluster": "kafka_sasl_password_file",
            "Schema Registry → Public endpoint": "schema_registry_url",
            "API key of the Schema Registry, another one than that of the cluster": "schema_registry_username",
        },
        notes=(
            (
                "Give the service account of the key READ, WRITE, DESCRIBE, DESCRIBE_CONFIGS and CREATE on the two"
                " topics, and READ on the group."
            ),
        ),
    ),
    Service(
        name="Confluent Cloud with OAuth",
        values={
            "kafka_bootstrap_servers": "pkc-ABC12.eu-central-1.aws.confluent.cloud:9092",
            **_SASL_SSL,
            "kafka_sasl_mechanism": "OAUTHBEARER",
            "kafka_oauth_token_url": "https://login.example.com/oauth2/token",
            "kafka_oauth_client_id": "CLIENT-ID",
            "kafka_oauth_client_secret_file": f"{_SECRETS}/kafka-client-secret",
            "kafka_oauth_scope": "SCOPE",
            "kafka_oauth_extensions": "logicalCluster=lkc-ABC12,identityPoolId=pool-ABC1",
            "schema_registry_url": "https://psrc-ABC12.eu-central-1.aws.confluent.cloud",
            "schema_registry_username": "REGISTRY-API-KEY",
            "schema_registry_password_file": f"{_SECRETS}/registry-api-secret",
        },
        terms={
            "Token endpoint of the identity provider": "kafka_oauth_token_url",
            "Cluster id (lkc-…) and identity pool (pool-…)": "kafka_oauth_extensions",
        },
        notes=("The same settings without extensions are for every cluster with OAUTHBEARER.",),
    ),
    Service(
        name="Amazon MSK with SCRAM",
        values={
            "kafka_bootstrap_servers": "b-1.NAME.ABC123.c2.kafka.eu-central-1.amazonaws.com:9096",
            **_SASL_SSL,
            "kafka_sasl_mechanism": "SCRAM-SHA-512",
            "kafka_sasl_username": "USER",
            "kafka_sasl_password_file": f"{_SECRETS}/kafka-password",
        },
        terms={
            "Bootstrap servers → SASL/SCRAM, port 9096": "kafka_bootstrap_servers",
            "`username` of the secret AmazonMSK_… in the Secrets Manager": "kafka_sasl_username",
            "`password` of that secret": "kafka_sasl_password_file",
        },
        notes=(
            (
                "The Glue Schema Registry has another API and another wire format; run Apicurio, Karapace or"
                " Confluent's registry beside MSK."
            ),
        ),
    ),
    Service(
        name="Amazon MSK with IAM",
        values={
            "kafka_bootstrap_servers": "b-1.NAME.ABC123.c2.kafka.eu-central-1.amazonaws.com:9098",
            **_SASL_SSL,
            "kafka_sasl_mechanism": "AWS_MSK_IAM",
        },
        terms={"Bootstrap servers → IAM, port 9098": "kafka_bootstrap_servers"},
        notes=(
            "It needs the extra `msk`: `pip install 'streamapp-pipeline[msk]'`.",
            "The credentials come from where the AWS SDK finds them: a role of the instance or the pod, or variables.",
            "The region is that in the broker's name, or else AWS_REGION.",
        ),
    ),
    Service(
        name="Azure Event Hubs",
        values={
            "kafka_bootstrap_servers": "NAMESPACE.servicebus.windows.net:9093",
            **_SASL_SSL,
            "kafka_sasl_mechanism": "PLAIN",
            # Compose replaces $… in a value without quotes.
            "kafka_sasl_username": "'$ConnectionString'",
            "kafka_sasl_password_file": f"{_SECRETS}/event-hubs-connection-string",
            "kafka_compression": "none",
            "kafka_idempotence": "false",
            "create_topics": "false",
        },
        terms={
            "Host name of the namespace, port 9093": "kafka_bootstrap_servers",
            "The text $ConnectionString": "kafka_sasl_username",
            "Shared access policies → Connection string": "kafka_sasl_password_file",
            "Event hub": "topic",
        },
        notes=(
            (
                "Create two event hubs, `user_events` and `user_events.dlq`, with the same number of partitions as you"
                " expect workers."
            ),
            "The policy needs Listen and Send.",
            (
                "The quotes are for files that Compose or a shell reads, and for `.env`; leave them out in a file that"
                " `docker run --env-file` or Kustomize reads."
            ),
            "Azure's Schema Registry has another API; run Apicurio, Karapace or Confluent's registry beside it.",
        ),
    ),
    Service(
        name="Aiven",
        values={
            "kafka_bootstrap_servers": "NAME-PROJECT.aivencloud.com:12345",
            **_SASL_SSL,
            "kafka_sasl_mechanism": "SCRAM-SHA-256",
            "kafka_sasl_username": "avnadmin",
            "kafka_sasl_password_file": f"{_SECRETS}/kafka-password",
            "kafka_ssl_ca_file": f"{_SECRETS}/aiven-ca.pem",
            "schema_registry_url": "https://NAME-PROJECT.aivencloud.com:12346",
            "schema_registry_username": "avnadmin",
            "schema_registry_password_file": f"{_SECRETS}/registry-password",
        },
        terms={
            "Service URI, with authentication method SASL": "kafka_bootstrap_servers",
            "CA certificate (ca.pem)": "kafka_ssl_ca_file",
            "Access certificate (service.cert), with authentication method client certificate": (
                "kafka_ssl_certificate_file"
            ),
            "Access key (service.key)": "kafka_ssl_key_file",
            "Schema Registry (Karapace) → Service URI, without user and password": "schema_registry_url",
        },
        notes=("With client certificates the security protocol is ssl, and there is no user and no password.",),
    ),
    Service(
        name="Redpanda Cloud",
        values={
            "kafka_bootstrap_servers": "ABC123.any.eu-central-1.mpx.prd.cloud.redpanda.com:9092",
            **_SASL_SSL,
            "kafka_sasl_mechanism": "SCRAM-SHA-256",
            "kafka_sasl_username": "USER",
            "kafka_sasl_password_file": f"{_SECRETS}/kafka-password",
            "schema_registry_url": "https://schema-registry-ABC123.eu-central-1.mpx.prd.cloud.redpanda.com:30081",
            "schema_registry_username": "USER",
            "schema_registry_password_file": f"{_SECRETS}/kafka-password",
        },
        terms={
            "Bootstrap server URL": "kafka_bootstrap_servers",
            "Security → Users": "kafka_sasl_username",
            "Schema Registry URL": "schema_registry_url",
        },
    ),
    Service(
        name="Strimzi with SCRAM",
        values={
            "kafka_bootstrap_servers": "CLUSTER-kafka-bootstrap.NAMESPACE.svc:9093",
            **_SASL_SSL,
            "kafka_sasl_mechanism": "SCRAM-SHA-512",
            "kafka_sasl_username": "streamapp",
            "kafka_sasl_password_file": "/var/run/secrets/streamapp/password",
            "kafka_ssl_ca_file": "/var/run/secrets/cluster-ca/ca.crt",
        },
        terms={
            "Name of the KafkaUser": "kafka_sasl_username",
            "`password` in the Secret of the KafkaUser": "kafka_sasl_password_file",
            "`ca.crt` in the Secret CLUSTER-cluster-ca-cert": "kafka_ssl_ca_file",
        },
    ),
    Service(
        name="Strimzi with client certificates",
        values={
            "kafka_bootstrap_servers": "CLUSTER-kafka-bootstrap.NAMESPACE.svc:9093",
            "kafka_security_protocol": "ssl",
            "kafka_ssl_ca_file": "/var/run/secrets/cluster-ca/ca.crt",
            "kafka_ssl_certificate_file": "/var/run/secrets/streamapp/user.crt",
            "kafka_ssl_key_file": "/var/run/secrets/streamapp/user.key",
        },
        terms={
            "`user.crt` in the Secret of the KafkaUser": "kafka_ssl_certificate_file",
            "`user.key` in that Secret": "kafka_ssl_key_file",
        },
    ),
    Service(
        name="MongoDB Atlas",
        values={
            "mongo_uri_file": f"{_SECRETS}/mongo-uri",
            "dashboard_mongo_uri_file": f"{_SECRETS}/dashboard-mongo-uri",
        },
        terms={
            "Connect → Drivers → connection string, with user and password filled in": "mongo_uri_file",
            "The same for a second database user with the role read": "dashboard_mongo_uri_file",
        },
        notes=(
            (
                "The file holds a line such as"
                " `mongodb+srv://USER:PASSWORD@CLUSTER.ABC12.mongodb.net/?retryWrites=true&w=majority`."
            ),
            "Characters of the password such as @ and / are written as %40 and %2F.",
            "The database user of the worker needs the role readWrite on the database.",
            (
                "With X.509 the line is `mongodb+srv://CLUSTER.ABC12.mongodb.net/?authSource=%24external"
                "&authMechanism=MONGODB-X509&tlsCertificateKeyFile=/run/secrets/atlas.pem`."
            ),
        ),
    ),
)


def env_blocks() -> str:
    """Render a block of commented variables for each service."""
    head = "# Services: uncomment one block, and replace what is in capitals. See docs/how-to/connect.md.\n"
    return "\n".join([head, *(f"# {service.name}\n{_lines(service, '#')}\n" for service in SERVICES)])


def sections() -> str:
    """Render a section for each service."""
    return "\n\n".join(map(_section, SERVICES))


def _section(service: Service) -> str:
    rows = [(escaped(term), f"`{variable(name)}`") for term, name in service.terms.items()]
    notes = "\n".join(service.notes)
    terms = markdown_table([service.name.partition(" with ")[0], "setting"], rows)
    parts = [f"### {service.name}", f"```ini\n{_lines(service)}\n```", terms, notes]
    return "\n\n".join(part for part in parts if part)


def _lines(service: Service, comment: str = "") -> str:
    return "\n".join(f"{comment}{variable(name)}={value}" for name, value in service.values.items())
