//! Every setting: its name, its default, what it means.
//!
//! The name in a file is `section.key`; in the environment `MEDISYNC_SECTION__KEY`.

/// A setting that can be given in a file, in the environment or by a flag.
#[derive(Debug)]
pub(crate) struct Setting {
    /// `section.key`.
    pub(crate) key: &'static str,
    /// What it is when nobody says. `{data}` stands for the data directory.
    pub(crate) default: &'static str,
    /// What it means.
    pub(crate) help: &'static str,
}

const fn setting(key: &'static str, default: &'static str, help: &'static str) -> Setting {
    Setting { key, default, help }
}

/// A default that is worked out from other settings.
pub(crate) const DERIVED: &str = "";

/// The one setting that is a list of tables.
pub(crate) const TOKEN_ISSUERS: &str = "tokens.issuers";

/// All of them, in the order in which they are shown.
pub(crate) const SETTINGS: &[Setting] = &[
    setting("data_dir", "./data", "directory for all data, keys and certificates of this machine"),
    setting("log_format", "text", "text or json"),
    setting(
        "log_level",
        "info",
        "error, warn, info, debug, trace, off, or a filter such as info,kit=debug",
    ),
    setting(
        "demo",
        DERIVED,
        "demo users and patients; true under `up` on the embedded default with all listeners on \
         loopback, else false; true elsewhere is refused, anywhere insists",
    ),
    setting(
        "drain_seconds",
        "10",
        "time-out for draining: requests in flight when the process stops",
    ),
    setting(
        "clinic.time_zone",
        DERIVED,
        "the clinic's time zone, such as Europe/Berlin (IANA), for birth and registered dates \
         and analytics' days; the system's when empty",
    ),
    setting(
        "admin.listen",
        "127.0.0.1:4090",
        "address of the admin listener: metrics and health of this process",
    ),
    setting(
        "admin.hosts",
        "",
        "host names (with a dot) under which the admin listener is reachable; comma-separated",
    ),
    setting("gateway.listen", "127.0.0.1:4004", "public HTTP, or HTTPS with a certificate"),
    setting(
        "gateway.tls.cert",
        DERIVED,
        "certificate chain of the public port, PEM, reloaded when it changes; HTTP when empty",
    ),
    setting("gateway.tls.key", DERIVED, "its private key, PEM"),
    setting(
        "gateway.tls.redirect_listen",
        DERIVED,
        "a plaintext port that redirects clients to the public one; none when empty",
    ),
    setting(
        "gateway.tls.redirect_port",
        DERIVED,
        "the port that it redirects to; the one of gateway.listen when empty",
    ),
    setting(
        "gateway.cors_origins",
        DERIVED,
        "allowed CORS origins: https://app.example.org, comma-separated; none when empty",
    ),
    setting(
        "gateway.trusted_proxies",
        DERIVED,
        "proxies whose X-Forwarded-For is trusted: networks such as 10.0.0.0/8, comma-separated",
    ),
    setting("gateway.rate_limit.user", "100/1s", "requests of one user: N/Ts[:BURST], or off"),
    setting("gateway.rate_limit.client", "200/1s", "requests of one client address"),
    setting("gateway.rate_limit.login", "10/60s", "failed sign-ins of one client address"),
    setting(
        "gateway.jwks",
        DERIVED,
        "key set that verifies tokens: a JWKS URL or file:PATH; auth's own when empty",
    ),
    setting(
        "gateway.clients_tracked_max",
        "100000",
        "maximum number of users and addresses that rate limits track",
    ),
    setting(
        "gateway.in_flight_per_client_max",
        "256",
        "maximum concurrent requests from one client address",
    ),
    setting("gateway.in_flight_per_user_max", "128", "maximum concurrent requests of one user"),
    setting("gateway.connections_max", "10000", "maximum open client connections"),
    setting(
        "gateway.connections_per_client_max",
        "8000",
        "maximum open connections from one address (IPv6: one /64); 0: no limit. An office \
         behind one address is one client; trusted proxies are not limited",
    ),
    setting("gateway.head_ms", "10000", "time-out for reading a request's head"),
    setting("gateway.body_ms", "30000", "time-out for reading a request's body"),
    setting(
        "gateway.client_ms",
        "15000",
        "idle time-out while a body is read from or written to a client",
    ),
    setting(
        "gateway.keep_alive_ms",
        "60000",
        "idle time-out of a client connection without a request",
    ),
    setting(
        "gateway.connect_ms",
        "2000",
        "time-out for connecting to a part, TLS handshake included",
    ),
    setting(
        "gateway.upstream_ms",
        "15000",
        "time-out for the first byte of a part's response, and between two reads",
    ),
    setting(
        "gateway.health_every_ms",
        "1000",
        "interval of the health checks of each part's addresses",
    ),
    setting("gateway.threads", "2", "worker threads of the gateway"),
    setting(
        TOKEN_ISSUERS,
        DERIVED,
        "others whose tokens are accepted beside ours: tables [[tokens.issuers]] of a file, or the \
         same as a JSON list, each with issuer, audience, jwks_url and, unless it is role, \
         role_claim; ca is the file of the authorities of an https server, the system's when unset",
    ),
    setting("auth.listen", "127.0.0.1:4005", "REST"),
    setting("auth.url", DERIVED, "where others find it; comma-separated URLs are balanced"),
    setting(
        "auth.database",
        "sqlite:{data}/auth.db",
        "sqlite:PATH or postgres://user:pass@host:port/db",
    ),
    setting("auth.keys_dir", "{data}/keys", "directory of the keys that sign tokens"),
    setting("auth.token_ttl_seconds", "900", "lifetime of an access token"),
    setting("auth.refresh_ttl_days", "30", "lifetime of a refresh token"),
    setting(
        "auth.session_days_max",
        "90",
        "maximum lifetime of a session, however often it is refreshed",
    ),
    setting(
        "auth.refresh_reuse_seconds",
        "10",
        "how long a spent refresh token returns the same pair again, for two tabs that refresh \
         at once; at most 60",
    ),
    setting("auth.argon2_memory_kib", "19456", "argon2 memory cost; at least 19456"),
    setting("auth.argon2_passes", "2", "argon2 time cost (passes); at least 2"),
    setting("auth.hashes_at_once_max", "2", "maximum concurrent password hashes"),
    setting(
        "auth.rate_limit.account",
        "10/60s",
        "failed sign-ins to one account, from all unknown addresses together and from each \
         address where its user signed in before: N/Ts[:BURST], or off",
    ),
    setting("patient.listen", "127.0.0.1:4000", "REST"),
    setting("patient.url", DERIVED, "where others find it"),
    setting("patient.database", "sqlite:{data}/patient.db", "sqlite:PATH or postgres://…"),
    setting("patient.billing_call_ms", "1000", "time-out of one call to billing"),
    setting(
        "patient.billing_total_ms",
        "2000",
        "time-out of all attempts to call billing for one registration",
    ),
    setting(
        "patient.billing_tries_max",
        "3",
        "attempts to call billing for one registration; the account is pending afterwards",
    ),
    setting("billing.listen", "127.0.0.1:4001", "REST"),
    setting("billing.grpc_listen", "127.0.0.1:9001", "gRPC, mTLS always"),
    setting("billing.url", DERIVED, "where others find its REST"),
    setting("billing.grpc_url", DERIVED, "where patient finds its gRPC"),
    setting("billing.database", "sqlite:{data}/billing.db", "sqlite:PATH or postgres://…"),
    setting("analytics.listen", "127.0.0.1:4002", "REST"),
    setting("analytics.url", DERIVED, "where others find it"),
    setting("analytics.database", "sqlite:{data}/analytics.db", "sqlite:PATH or postgres://…"),
    setting("notification.listen", "127.0.0.1:4003", "REST"),
    setting("notification.url", DERIVED, "where others find it"),
    setting(
        "notification.database",
        "sqlite:{data}/notification.db",
        "sqlite:PATH or postgres://…",
    ),
    setting(
        "notification.smtp",
        DERIVED,
        "smtp://user:pass@host:port or smtps://…; without it messages are files",
    ),
    setting(
        "notification.outbox_dir",
        "{data}/outbox",
        "directory for messages that are written as files",
    ),
    setting("notification.from", "MediSync <no-reply@medisync.example>", "the sender of messages"),
    setting(
        "notification.update_interval_seconds",
        "3600",
        "minimum time between two messages about changes of a patient's details, the later one \
         with the last state; 0: a message for each change",
    ),
    setting(
        "notification.rate_limit.address",
        "10/3600s",
        "messages to one address: N/Ts[:BURST], or off; those over the limit are sent later",
    ),
    setting(
        "events.log",
        "embedded",
        "embedded, in {data}/events.db; or kafka://user:pass@host:port,host:port",
    ),
    setting("events.partitions", "6", "partitions of topics that MediSync creates"),
    setting(
        "events.replication",
        DERIVED,
        "replication factor of topics that MediSync creates; the cluster's default when empty",
    ),
    setting(
        "events.prefix",
        DERIVED,
        "prefix of topics and consumer groups, where several meshes share a cluster",
    ),
    setting(
        "mesh.mtls",
        "permissive",
        "permissive, or strict: no plaintext on any service's listener",
    ),
    setting("mesh.ca", "{data}/pki/ca.pem", "trusted certificate authorities, PEM"),
    setting(
        "mesh.crl",
        "{data}/pki/crl.pem",
        "certificate revocation lists, PEM, reloaded when they change; none when the file is \
         missing",
    ),
    setting("mesh.cert", DERIVED, "this part's certificate; {data}/pki/PART.pem when empty"),
    setting("mesh.key", DERIVED, "its key; {data}/pki/PART.key when empty"),
    setting(
        "mesh.leave_ms",
        "2500",
        "how long a process that stops reports not-ready and keeps serving before it drains: a \
         part of drain_seconds, at most half of it unless set; none under `up`",
    ),
    setting(
        "traces.otlp_endpoint",
        DERIVED,
        "OTLP collector for spans, over gRPC: http://host:4317; none when empty \
         (OTEL_EXPORTER_OTLP_ENDPOINT counts, too)",
    ),
    setting(
        "traces.sample_share",
        "0.1",
        "share of traces that is sampled, 0 to 1 (OTEL_TRACES_SAMPLER_ARG counts, too)",
    ),
    setting(
        "audit.key",
        "file:{data}/audit/key",
        "key of the audit logs, the same for every part and replica: 64 hexadecimal digits, or \
         file:PATH, which is created when it is missing",
    ),
    setting("limits.body_bytes_max", "65536", "maximum size of a request body"),
    setting("limits.deadline_ms", "10000", "time-out of a request in a service"),
    setting(
        "limits.in_flight_max",
        "512",
        "maximum concurrent requests of a service; more are answered 503",
    ),
    setting("limits.connections_max", "2048", "maximum open connections of one listener"),
    setting(
        "limits.pool_connections_max",
        "8",
        "PostgreSQL connections of one service; patient and notification have one more, for \
         their lease",
    ),
    setting("limits.acquire_ms", "3000", "time-out for a connection of the pool"),
    setting("limits.statement_ms", "10000", "time-out of a PostgreSQL statement"),
];

/// The setting of this name.
pub(crate) fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}
