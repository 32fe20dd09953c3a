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
    setting("data_dir", "./data", "where this machine keeps what it must not lose"),
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
        "how long requests in flight may take when the process is told to stop",
    ),
    setting(
        "clinic.time_zone",
        DERIVED,
        "where the clinic's days begin and end, such as Europe/Berlin (IANA): for birth and \
         registered dates and analytics' days; the system's when empty",
    ),
    setting("admin.listen", "127.0.0.1:4090", "metrics and health of this process"),
    setting(
        "admin.hosts",
        "",
        "names, with a dot in them, by which the admin listener is asked; several with commas",
    ),
    setting("gateway.listen", "127.0.0.1:4004", "public HTTP, or HTTPS with a certificate"),
    setting(
        "gateway.tls.cert",
        DERIVED,
        "certificate chain of the public port, PEM, read again when it changes; HTTP when empty",
    ),
    setting("gateway.tls.key", DERIVED, "its private key, PEM"),
    setting(
        "gateway.tls.redirect_listen",
        DERIVED,
        "a plaintext port that sends clients to the public one; none when empty",
    ),
    setting(
        "gateway.tls.redirect_port",
        DERIVED,
        "the port that it sends them to; the one of gateway.listen when empty",
    ),
    setting(
        "gateway.cors_origins",
        DERIVED,
        "origins whose pages may call the API from a browser: https://app.example.org, \
         comma-separated; none when empty",
    ),
    setting(
        "gateway.trusted_proxies",
        DERIVED,
        "balancers whose X-Forwarded-For says who the client is: networks such as 10.0.0.0/8, \
         comma-separated",
    ),
    setting("gateway.rate_limit.user", "100/1s", "requests of one user: N/Ts[:BURST], or off"),
    setting("gateway.rate_limit.client", "200/1s", "requests of one client address"),
    setting("gateway.rate_limit.login", "10/60s", "failed sign-ins of one client address"),
    setting(
        "gateway.jwks",
        DERIVED,
        "whose tokens are accepted: a JWKS URL or file:PATH; auth's own when empty",
    ),
    setting(
        "gateway.clients_tracked_max",
        "100000",
        "rate limits remember so many users and addresses",
    ),
    setting(
        "gateway.in_flight_per_client_max",
        "256",
        "requests from one client address that are worked on at once",
    ),
    setting(
        "gateway.in_flight_per_user_max",
        "128",
        "requests of one user that are worked on at once",
    ),
    setting("gateway.connections_max", "10000", "clients that are connected at once"),
    setting(
        "gateway.connections_per_client_max",
        "8000",
        "of those, connections from one address (of IPv6: one /64); 0: no bound. An office behind \
         one address is one client, a trusted proxy is none",
    ),
    setting("gateway.head_ms", "10000", "a request's head must be whole so soon"),
    setting("gateway.body_ms", "30000", "a request's body must be whole so soon"),
    setting(
        "gateway.client_ms",
        "15000",
        "a client that neither sends nor takes a byte of a body for so long is given up",
    ),
    setting(
        "gateway.keep_alive_ms",
        "60000",
        "a client's connection without a request is closed after so long",
    ),
    setting(
        "gateway.connect_ms",
        "2000",
        "a connection to a part, TLS included, must stand so soon",
    ),
    setting("gateway.upstream_ms", "15000", "a part's answer must begin so soon"),
    setting(
        "gateway.health_every_ms",
        "1000",
        "every address of a part is asked so often whether it is ready",
    ),
    setting("gateway.threads", "2", "worker threads of the proxy"),
    setting(
        TOKEN_ISSUERS,
        DERIVED,
        "others whose tokens are accepted beside ours: tables [[tokens.issuers]] of a file, or the \
         same as a JSON list, each with issuer, audience, jwks_url and, unless it is role, \
         role_claim; ca is the file of the authorities of an https server, the system's when unset",
    ),
    setting("auth.listen", "127.0.0.1:4005", "REST"),
    setting("auth.url", DERIVED, "where others find it; a comma-separated list balances"),
    setting(
        "auth.database",
        "sqlite:{data}/auth.db",
        "sqlite:PATH or postgres://user:pass@host:port/db",
    ),
    setting("auth.keys_dir", "{data}/keys", "the keys that sign tokens"),
    setting("auth.token_ttl_seconds", "900", "how long a token is valid"),
    setting("auth.refresh_ttl_days", "30", "how long a sign-in may go without being refreshed"),
    setting(
        "auth.session_days_max",
        "90",
        "how long a sign-in lives, however often it is refreshed",
    ),
    setting(
        "auth.refresh_reuse_seconds",
        "10",
        "how long a spent refresh token gives the same pair again, to two tabs at once; at most 60",
    ),
    setting(
        "auth.argon2_memory_kib",
        "19456",
        "memory that hashing one password takes; at least 19456",
    ),
    setting("auth.argon2_passes", "2", "passes over that memory; at least 2"),
    setting("auth.hashes_at_once_max", "2", "passwords hashed at the same time"),
    setting(
        "auth.rate_limit.account",
        "10/60s",
        "failed sign-ins to one account, by all strangers together and by each address from \
         where its user signed in before: N/Ts[:BURST], or off",
    ),
    setting("patient.listen", "127.0.0.1:4000", "REST"),
    setting("patient.url", DERIVED, "where others find it"),
    setting("patient.database", "sqlite:{data}/patient.db", "sqlite:PATH or postgres://…"),
    setting("patient.billing_call_ms", "1000", "one call to billing may take so long"),
    setting(
        "patient.billing_total_ms",
        "2000",
        "all tries of one registration together may take so long",
    ),
    setting("patient.billing_tries_max", "3", "so many tries, then the account is pending"),
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
    setting("notification.outbox_dir", "{data}/outbox", "where messages go as files"),
    setting("notification.from", "MediSync <no-reply@medisync.example>", "the sender of messages"),
    setting(
        "notification.update_interval_seconds",
        "3600",
        "how long after a message about a change of a patient's details the next one is sent, with \
         the last state; 0: a message for each change",
    ),
    setting(
        "notification.rate_limit.address",
        "10/3600s",
        "messages to one address: N/Ts[:BURST], or off; what is over it is sent later",
    ),
    setting(
        "events.log",
        "embedded",
        "embedded, in {data}/events.db; or kafka://user:pass@host:port,host:port",
    ),
    setting("events.partitions", "6", "so many partitions Kafka's topics are made with"),
    setting(
        "events.replication",
        DERIVED,
        "on so many brokers Kafka's topics are made; the cluster's own default when empty",
    ),
    setting(
        "events.prefix",
        DERIVED,
        "stands before the names of Kafka's topics and groups, where meshes share a cluster",
    ),
    setting(
        "mesh.mtls",
        "permissive",
        "permissive, or strict: no plaintext on any service's listener",
    ),
    setting("mesh.ca", "{data}/pki/ca.pem", "the authorities that are trusted, PEM"),
    setting(
        "mesh.crl",
        "{data}/pki/crl.pem",
        "certificates that the authorities have revoked, PEM, read again when it changes; none \
         where there is no such file",
    ),
    setting("mesh.cert", DERIVED, "this part's certificate; {data}/pki/PART.pem when empty"),
    setting("mesh.key", DERIVED, "its key; {data}/pki/PART.key when empty"),
    setting(
        "mesh.leave_ms",
        "2500",
        "a process that is told to stop is not ready from then on, but serves on for so long, \
         until all have noticed: a part of drain_seconds, at most half of it unless set; none \
         under `up`",
    ),
    setting(
        "traces.otlp_endpoint",
        DERIVED,
        "a collector that takes spans by OTLP over gRPC: http://host:4317; nobody gets any when \
         empty (OTEL_EXPORTER_OTLP_ENDPOINT counts, too)",
    ),
    setting(
        "traces.sample_share",
        "0.1",
        "the share of traces that is kept, 0 to 1 (OTEL_TRACES_SAMPLER_ARG counts, too)",
    ),
    setting(
        "audit.key",
        "file:{data}/audit/key",
        "what audit trails are sealed with, the same for every part and replica: 64 hexadecimal \
         digits, or file:PATH, which is made when it is not there",
    ),
    setting("limits.body_bytes_max", "65536", "a longer request body is refused"),
    setting("limits.deadline_ms", "10000", "no request takes longer in a service"),
    setting("limits.in_flight_max", "512", "requests that a service works on at once"),
    setting("limits.connections_max", "2048", "connections to one listener"),
    setting(
        "limits.pool_connections_max",
        "8",
        "sessions in which one service works on its store; those of patient and notification \
         have one more, by which one replica at a time publishes or delivers",
    ),
    setting("limits.acquire_ms", "3000", "waiting longer for one of those is a failure"),
    setting("limits.statement_ms", "10000", "PostgreSQL gives up a statement that takes longer"),
];

/// The setting of this name.
pub(crate) fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}
