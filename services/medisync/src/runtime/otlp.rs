//! Spans go to a collector by OTLP (gRPC), when there is one: gathered by a thread of their own,
//! and dropped, counted, when there are more of them than it takes. No request waits for that.
//!
//! A process may run several parts; each is a service of its own for anyone who looks at traces.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use http::Uri;
use opentelemetry::{
    InstrumentationScope, KeyValue, SpanId, TraceFlags, TraceId,
    trace::{SpanContext, SpanKind, Status, TraceState},
};
use opentelemetry_otlp::{WithExportConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    trace::{BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanExporter, SpanProcessor as _},
};
use prometheus::IntCounterVec;
use shared_middleware::{
    clock::{Clock, Ids},
    identity::Part,
    metrics::counter,
    spans::{self, Kind, Sink, Span, Value},
    trace_context::TraceContext,
};
use tonic::transport::Endpoint;

/// This many spans wait for the collector at most: some seconds of a busy gateway's.
const WAITING_MAX: usize = 8192;
const BATCH_MAX: usize = 512;
const SENT_EVERY: Duration = Duration::from_secs(1);
/// A collector that takes longer has not got them.
const TAKEN_WITHIN: Duration = Duration::from_secs(5);
/// What still waits when the process ends gets so long.
const LAST_WITHIN: Duration = Duration::from_secs(2);

static SPANS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "Spans of sampled traces, by what became of them.";
    counter("trace_spans_total", help, &["outcome"])
});

/// Where this process's spans go.
pub(crate) struct Traces(Arc<BatchSpanProcessor>);

/// Takes spans from the parts.
struct ToCollector {
    processor: Arc<BatchSpanProcessor>,
    waiting: Arc<AtomicUsize>,
    clock: Clock,
}

/// One exporter for each part, since each is another resource; they share a connection.
#[derive(Debug)]
struct ByPart {
    exporters: Vec<(Part, opentelemetry_otlp::SpanExporter)>,
    waiting: Arc<AtomicUsize>,
    /// Whether the collector took the last batch: a change is logged once.
    away: AtomicBool,
}

// === impl Traces ===

impl Traces {
    /// Sends so great a share of all traces there from now on. The collector need not be there.
    pub(crate) fn start(
        collector: &Uri,
        share: f64,
        parts: &[Part],
        clock: Clock,
        ids: &Ids,
    ) -> anyhow::Result<Self> {
        for outcome in ["exported", "dropped", "failed"] {
            // There from the start, so that a dashboard finds it.
            SPANS.with_label_values(&[outcome]);
        }
        let waiting = Arc::new(AtomicUsize::new(0));
        let instance = ids.next().to_string();
        let channel = Endpoint::from(collector.clone()).connect_lazy();
        let exporter = |part: &Part| {
            let built = opentelemetry_otlp::SpanExporter::builder()
                .with_tonic()
                .with_channel(channel.clone())
                .with_timeout(TAKEN_WITHIN)
                .build();
            let mut exporter = built.context("spans cannot be sent (traces.otlp_endpoint)")?;
            exporter.set_resource(&resource(*part, &instance));
            Ok::<_, anyhow::Error>((*part, exporter))
        };
        let exporters = parts.iter().map(exporter).collect::<Result<_, _>>()?;
        let exporter =
            ByPart { exporters, waiting: Arc::clone(&waiting), away: AtomicBool::new(false) };
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(WAITING_MAX)
            .with_max_export_batch_size(BATCH_MAX)
            .with_scheduled_delay(SENT_EVERY)
            .build();
        let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
        let processor = Arc::new(processor);
        let sink = ToCollector { processor: Arc::clone(&processor), waiting, clock };
        spans::send_to(sink, share);
        Ok(Self(processor))
    }

    /// Sends what still waits, for a moment.
    pub(crate) async fn stop(self) {
        let sent = move || self.0.shutdown_with_timeout(LAST_WITHIN);
        let _ = tokio::task::spawn_blocking(sent).await;
    }
}

// === impl ToCollector ===

impl Sink for ToCollector {
    fn take(&self, trace: TraceContext, took: Duration, span: Span) {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            SPANS.with_label_values(&["dropped"]).inc();
            return;
        }
        let ended = SystemTime::from(self.clock.now());
        self.processor.on_end(span_data(&trace, ended, took, span));
    }
}

// === impl ByPart ===

impl SpanExporter for ByPart {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.waiting.fetch_sub(batch.len(), Ordering::Relaxed);
        let mut groups: BTreeMap<String, Vec<SpanData>> = BTreeMap::new();
        for span in batch {
            let part = span.instrumentation_scope.name().to_owned();
            groups.entry(part).or_default().push(span);
        }
        let mut last = Ok(());
        for (part, exporter) in &self.exporters {
            let Some(group) = groups.remove(part.as_str()) else { continue };
            let count = group.len() as u64;
            let sent = exporter.export(group).await;
            let outcome = if sent.is_ok() { "exported" } else { "failed" };
            SPANS.with_label_values(&[outcome]).inc_by(count);
            last = self.tell(sent);
        }
        last
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        let ended = |(_, exporter): &(Part, opentelemetry_otlp::SpanExporter)| {
            exporter.shutdown_with_timeout(timeout)
        };
        self.exporters.iter().try_for_each(ended)
    }
}

impl ByPart {
    fn tell(&self, sent: OTelSdkResult) -> OTelSdkResult {
        let was_away = self.away.swap(sent.is_err(), Ordering::Relaxed);
        match &sent {
            Err(OTelSdkError::AlreadyShutdown) => {}
            Err(error) if !was_away => tracing::warn!(%error, "OTLP export failed"),
            Ok(()) if was_away => tracing::info!("OTLP export recovered"),
            _ => {}
        }
        sent
    }
}

fn resource(part: Part, instance: &str) -> Resource {
    Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", part.as_str()),
            KeyValue::new("service.namespace", "medisync"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", instance.to_owned()),
        ])
        .build()
}

fn span_data(trace: &TraceContext, ended: SystemTime, took: Duration, span: Span) -> SpanData {
    let (trace_id, span_id, parent_id) = trace.ids();
    let span_id = SpanId::from_bytes(span_id.to_be_bytes());
    let trace_id = TraceId::from_bytes(trace_id.to_be_bytes());
    let flags = TraceFlags::SAMPLED;
    let attribute = |(name, value)| match value {
        Value::Text(text) => KeyValue::new(name, text),
        Value::Number(number) => KeyValue::new(name, number),
    };
    SpanData {
        span_context: SpanContext::new(trace_id, span_id, flags, false, TraceState::NONE),
        parent_span_id: SpanId::from_bytes(parent_id.to_be_bytes()),
        parent_span_is_remote: !matches!(span.kind, Kind::Client | Kind::Producer),
        span_kind: match span.kind {
            Kind::Server => SpanKind::Server,
            Kind::Client => SpanKind::Client,
            Kind::Producer => SpanKind::Producer,
            Kind::Consumer => SpanKind::Consumer,
        },
        name: span.name.into(),
        start_time: ended.checked_sub(took).unwrap_or(ended),
        end_time: ended,
        attributes: span.attributes.into_iter().map(attribute).collect(),
        dropped_attributes_count: 0,
        events: Default::default(),
        links: Default::default(),
        status: if span.failed { Status::error("") } else { Status::Unset },
        instrumentation_scope: InstrumentationScope::builder(span.service.as_str()).build(),
    }
}
