"""A month's bill of a deployment, line by line, before anything of it is made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from dataclasses import replace as replaced

from cloudformation import prices
from cloudformation.config import DOORS, PROFILES, ConfigurationError, Settings
from cloudformation.elsewhere import alternatives
from cloudformation.endpoints import INTERFACE_SERVICES
from cloudformation.prices import HOURS, PRICES
from cloudformation.sizes import requests_per_minute
from cloudformation.specs import HTTP_API_DOOR
from cloudformation.usage import API_LINE_BYTES, Usage, tasks, thousand_listings, usage_of
from cloudformation.waf import MANAGED_RULES

_MIB_PER_GB = 1024
_CPU_UNITS = 1024
_DATABASE_GB = 20
_MAX_PER_MINUTE = 100_000.0  # far beyond any crossing


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the bill. `price` names the row of the price table."""

    item: str
    price: str
    quantity: float
    factor: float = 1.0

    @property
    def usd(self) -> float:
        return self.quantity * PRICES[self.price].usd * self.factor


def bill(settings: Settings, per_minute: float | None = None) -> list[Line]:
    """Return the month's lines: the fewest tasks and little traffic, or what `per_minute` requests need."""
    usage = Usage() if per_minute is None else usage_of(settings, per_minute)
    running = tasks(settings, per_minute or 0)
    return [
        *_tasks(settings, running),
        *_door(settings, usage),
        *_public_addresses(settings, running),
        *_way_out(settings, usage),
        *_database(settings),
        *_storage(settings, usage),
        *_backup(settings, usage),
        *_watching(settings, usage),
        *_web_acl(settings, usage),
    ]


def total(lines: list[Line]) -> float:
    return sum(line.usd for line in lines)


def door_totals(settings: Settings, per_minute: float) -> dict[str, float]:
    """Return the month's total behind each door at `per_minute` requests each minute."""
    return {door: total(bill(_behind(settings, door), per_minute)) for door in DOORS}


def crossing(settings: Settings) -> int:
    """Return the requests a minute, all month, from which on the balancer costs less than the HTTP API."""
    below, above = 0.0, _MAX_PER_MINUTE
    while above - below > 0.5:
        middle = (below + above) / 2
        totals = door_totals(settings, middle)
        below, above = (middle, above) if totals[HTTP_API_DOOR] < totals["balancer"] else (below, middle)
    return round(above)


def _behind(settings: Settings, door: str) -> Settings:
    """Return the settings with another door; an HTTP API takes no web ACL, and no gRPC."""
    if door == "balancer":
        return replaced(settings, door=door)
    return replaced(settings, door=door, rate_limit=0, web_acl_arn="", managed_rules=False, enable_grpc=False)


def profile_totals(settings: Settings) -> dict[str, float]:
    """Return the month's total of each profile, in the region and processor of the settings."""
    base = Settings(region=settings.region, cpu_architecture=settings.cpu_architecture)
    return {name: total(bill(replaced(base, **changes))) for name, changes in PROFILES.items()}  # type: ignore[arg-type]


def as_json(settings: Settings, per_minute: float | None = None) -> dict[str, object]:
    lines = bill(settings, per_minute)
    return {
        "currency": "USD",
        "region": prices.REGION,
        "as_of": prices.AS_OF,
        "lines": [
            {
                "item": line.item,
                "quantity": round(line.quantity, 3),
                "unit": PRICES[line.price].unit,
                "unit_price": round(PRICES[line.price].usd * line.factor, 6),
                "monthly": round(line.usd, 2),
                "source": PRICES[line.price].source,
            }
            for line in lines
        ],
        "total": round(total(lines), 2),
        "profiles": {name: round(usd, 2) for name, usd in profile_totals(settings).items()},
        "usage": asdict(Usage() if per_minute is None else usage_of(settings, per_minute)),
        "per_minute": per_minute,
        "doors": {door: round(usd, 2) for door, usd in door_totals(settings, per_minute or 0).items()},
        "doors_cross_per_minute": crossing(settings),
        "tasks": tasks(settings, per_minute or 0),
        "elsewhere": [
            {"name": other.name, "monthly": round(other.usd, 2), "counted": other.counted, "sources": other.sources}
            for other in alternatives(per_minute or 0)
        ],
    }


def as_text(settings: Settings, per_minute: float | None = None) -> str:
    lines = bill(settings, per_minute)
    rows = [f"{'a month':<46}{'quantity':>10}  {'unit':<17}{'price':>9}{'USD':>9}"]
    rows += [_row(line) for line in lines]
    rows += [f"{'total':<82}{total(lines):>9.2f}", "", "The three profiles, a month:"]
    rows += [f"  {name:<12}{usd:>9.2f}  {_described(name)}" for name, usd in profile_totals(settings).items()]
    if per_minute is not None:
        rows += ["", f"The same {per_minute:g} requests a minute elsewhere, a month ({prices.AS_OF}):"]
        rows += [f"  {other.name:<22}{other.usd:>9.2f}  {other.counted}" for other in alternatives(per_minute)]
        rows += [f"    {source}" for source in sorted({s for other in alternatives(per_minute) for s in other.sources})]
    rows += ["", *_doors(settings, per_minute or 0)]
    rows += ["", *_notes(settings, per_minute)]
    return "\n".join(rows)


def _doors(settings: Settings, per_minute: float) -> Iterator[str]:
    yield f"Behind each door, a month with {per_minute:g} requests a minute:"
    for door, usd in door_totals(settings, per_minute).items():
        yield f"  {door:<12}{usd:>9.2f}"
    yield f"Below {crossing(settings):,} requests a minute, all month, Door=http-api costs less; above, Door=balancer."


def _row(line: Line) -> str:
    price = PRICES[line.price]
    return f"{line.item:<46}{line.quantity:>10.2f}  {price.unit:<17}{price.usd * line.factor:>9.4f}{line.usd:>9.2f}"


def _described(profile: str) -> str:
    settings = replaced(Settings(), **PROFILES[profile])  # type: ignore[arg-type]
    database = "a database" if settings.create_database else "no database"
    spot = "Spot" if settings.use_spot else "on demand"
    tasks = "1 task" if settings.min_tasks == 1 else f"{settings.min_tasks} tasks"
    vcpu = settings.task_cpu / _CPU_UNITS
    return f"{tasks} of {vcpu:g} vCPU, {spot}; {database}; network mode {settings.network_mode}"


def _notes(settings: Settings, per_minute: float | None) -> Iterator[str]:
    usage = Usage() if per_minute is None else usage_of(settings, per_minute)
    running = tasks(settings, per_minute or 0)
    yield f"Prices of {prices.REGION}, {prices.AS_OF}, without tax; other regions differ, most by under a third."
    yield (
        f"Counted: {usage.million_requests:g} million small requests, {usage.log_gb:.3g} GB of logs, "
        f"{usage.model_gb:g} GB of models, {usage.image_gb:g} GB of images; {running} task(s) running all month."
    )
    wanted = per_minute or 0
    limit = running * (settings.requests_per_task or requests_per_minute(settings.task_cpu))
    if wanted > limit:
        yield f"{wanted:g} requests a minute are more than MaxTasks={settings.max_tasks} should take: {limit}."
    if settings.log_sample_percent > 10 and usage.log_gb > 20:
        saved = PRICES["logs"].usd * usage.log_gb * (1 - 1 / settings.log_sample_percent)
        yield f"LogSamplePercent=1 would save about {saved:.0f} of it: most of the logs are lines of successes."
    yield "Fargate has no free tier. The 750 free hours in some guides are EC2's and RDS's, for old accounts."
    if settings.use_spot:
        yield "Spot is counted at its best, 70 % off; its price moves."
    if settings.region != prices.REGION:
        yield f"You deploy to {settings.region}: read its prices on the pages that --json names."


def _tasks(settings: Settings, running: int) -> Iterator[Line]:
    kind = settings.cpu_architecture.lower()
    factor = prices.SPOT_FACTOR if settings.use_spot else 1.0
    hours = running * HOURS
    yield Line("Fargate: CPU", f"fargate-vcpu-{kind}", hours * settings.task_cpu / _CPU_UNITS, factor)
    yield Line("Fargate: memory", f"fargate-gb-{kind}", hours * settings.task_memory / _MIB_PER_GB, factor)


def _door(settings: Settings, usage: Usage) -> Iterator[Line]:
    if settings.door == HTTP_API_DOOR:
        yield Line("HTTP API: requests", "api-requests", usage.million_requests)
        yield Line("HTTP API: its log", "logs", usage.million_requests * API_LINE_BYTES / 1_000)
        yield Line("Private zone of the tasks' names", "private-zone", 1)
    else:
        yield Line("Load balancer", "balancer", HOURS)
        yield Line("Load balancer: traffic", "balancer-capacity", HOURS * usage.capacity_units)
    yield Line(
        f"Answers beyond the free {prices.FREE_OUT_GB} GB", "data-out", max(0, usage.out_gb - prices.FREE_OUT_GB)
    )


def _public_addresses(settings: Settings, running: int) -> Iterator[Line]:
    if settings.door == "balancer":
        yield Line("Public addresses of the balancer, one a zone", "public-address", 2 * HOURS)
    if settings.network_mode == "public":
        yield Line("Public addresses of the tasks", "public-address", running * HOURS)


def _way_out(settings: Settings, usage: Usage) -> Iterator[Line]:
    if settings.network_mode == "nat":
        gateways = 2 if settings.is_prod else 1
        yield Line("NAT gateway, one a zone in prod", "nat-gateway", gateways * HOURS)
        yield Line("NAT gateway: public address", "public-address", gateways * HOURS)
        yield Line("NAT gateway: data", "nat-data", usage.private_gb)
    if settings.network_mode == "endpoints":
        zones = settings.endpoint_zones
        yield Line(
            f"Interface endpoints, {len(INTERFACE_SERVICES)} in {zones} zone(s)",
            "endpoint",
            len(INTERFACE_SERVICES) * zones * HOURS,
        )
        yield Line("Interface endpoints: data", "endpoint-data", usage.private_gb)


def _database(settings: Settings) -> Iterator[Line]:
    if not settings.create_database:
        return
    if settings.database_instance_class not in PRICES:
        known = ", ".join(sorted(name for name in PRICES if name.startswith("db.")))
        raise ConfigurationError(
            f"The price of {settings.database_instance_class} is not in the table; it has {known}. "
            "Add it to cloudformation/prices.py."
        )
    zones = 2 if settings.is_prod else 1
    yield Line(f"Database, in {zones} zone(s)", settings.database_instance_class, zones * HOURS)
    yield Line("Database: storage", "database-storage", zones * _DATABASE_GB)


def _storage(settings: Settings, usage: Usage) -> Iterator[Line]:
    yield Line("Secrets", "secret", 4)
    if settings.key_arn:
        yield Line("Customer key", "key", 1)
    yield Line("Images", "images", usage.image_gb)
    yield Line("Models, and access logs", "bucket", usage.model_gb + usage.access_log_gb)
    seconds = settings.models_discovery_seconds
    yield Line(f"Listing the models every {seconds} s", "bucket-listing", thousand_listings(settings))


def _backup(settings: Settings, usage: Usage) -> Iterator[Line]:
    if settings.backup_role_arn:
        if settings.create_database:
            yield Line("Backup: database", "backup-database", _DATABASE_GB)
        yield Line("Backup: models", "backup-bucket", usage.model_gb)


def _watching(settings: Settings, usage: Usage) -> Iterator[Line]:
    alarms = (7 if settings.door == "balancer" else 5) + 2 * settings.create_database + settings.enable_grpc
    metrics = 4 * (usage.models + 1) + 1
    yield Line("Logs", "logs", usage.log_gb)
    if settings.flow_logs != "NONE":
        yield Line("Flow logs", "flow-logs", usage.flow_log_gb)
    yield Line(f"Alarms over the {prices.FREE_ALARMS} free ones", "alarm", max(0, alarms - prices.FREE_ALARMS))
    yield Line(f"Own metrics over the {prices.FREE_METRICS} free ones", "metric", max(0, metrics - prices.FREE_METRICS))
    yield Line(
        f"Dashboards over the {prices.FREE_DASHBOARDS} free ones", "dashboard", max(0, 1 - prices.FREE_DASHBOARDS)
    )


def _web_acl(settings: Settings, usage: Usage) -> Iterator[Line]:
    rules = bool(settings.rate_limit) + settings.managed_rules * len(MANAGED_RULES)
    if rules:
        yield Line("Web ACL", "web-acl", 1)
        yield Line("Web ACL: its rules", "web-acl-rule", rules)
    if rules or settings.web_acl_arn:
        yield Line("Web ACL: requests", "web-acl-requests", usage.million_requests)
