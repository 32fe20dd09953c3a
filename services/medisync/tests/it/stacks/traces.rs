//! One registration as one trace: every hop's span, at a collector of the test's own.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::any_value::Value,
    trace::v1::Span,
};
use reqwest::Method;
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

use crate::test_mesh::{RECEPTIONIST, TestMesh, a_patient, until};

/// What has come so far: a span, and whose it is.
#[derive(Clone, Default)]
pub(crate) struct Collector(Arc<Mutex<Vec<(String, Span)>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for of in request.into_inner().resource_spans {
            let attributes = of.resource.unwrap().attributes;
            let name = attributes.iter().find(|it| it.key == "service.name").unwrap();
            let Some(Value::StringValue(service)) = name.value.clone().unwrap().value else {
                panic!("{name:?}")
            };
            let spans = of.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.0.lock().unwrap().extend(spans.map(|span| (service.clone(), span)));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    pub(crate) async fn start() -> (Self, String) {
        let collector = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = TraceServiceServer::new(collector.clone());
        let incoming = TcpIncoming::from(listener);
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
        (collector, format!("http://{address}"))
    }

    /// All that has come, in words.
    pub(crate) fn told(&self) -> String {
        format!("{:?}", self.0.lock().unwrap())
    }

    /// The spans of a trace, by whose they are and what they are called.
    fn trace(&self, id: &str) -> BTreeMap<String, Span> {
        let all = self.0.lock().unwrap().clone();
        let of_trace = all.into_iter().filter(|(_, span)| hex(&span.trace_id) == id);
        of_trace.map(|(service, span)| (format!("{service}: {}", span.name), span)).collect()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_registration_is_one_trace_from_the_gateway_to_each_consumer() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let (collector, url) = Collector::start().await;
    let environment =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()), ("OTEL_TRACES_SAMPLER_ARG", "1")];
    let world = TestMesh::start_with(&environment).await;
    let clerk = world.sign_in(RECEPTIONIST).await;
    let patient = a_patient();
    let traceparent = format!("00-{TRACE}-00f067aa0ba902b7-00");
    let headers = [("traceparent", traceparent.as_str())];
    let answer = clerk.send(Method::POST, "/api/patients", &headers, Some(&patient)).await;
    assert_eq!(answer.status, 201);
    // Whose span is below whose.
    let tree = [
        ("gateway: POST /api/patients", ""),
        ("patient: POST /patients", "gateway: POST /api/patients"),
        ("patient: CreateBillingAccount", "patient: POST /patients"),
        ("billing: CreateBillingAccount", "patient: CreateBillingAccount"),
        ("patient: publish", "patient: POST /patients"),
        ("analytics: consume patient", "patient: publish"),
        ("notification: consume patient", "patient: publish"),
    ];
    let whole = || async { collector.trace(TRACE).len() >= tree.len() };
    until("every span has come", whole).await;
    let spans = collector.trace(TRACE);
    assert_eq!(spans.len(), tree.len(), "{:?}", spans.keys());
    for (name, above) in tree {
        let span = spans.get(name).unwrap_or_else(|| panic!("{name}: {:?}", spans.keys()));
        let parent =
            spans.get(above).map_or_else(|| "00f067aa0ba902b7".to_owned(), |it| hex(&it.span_id));
        assert_eq!(hex(&span.parent_span_id), parent, "{name}");
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{name}");
        assert!(span.status.as_ref().is_none_or(|status| status.code != 2), "{name}");
    }
    // Nobody is named: neither who was registered, nor by whom.
    let told = format!("{spans:?}");
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    for value in ["name", "email", "address"].map(|field| patient[field].as_str().unwrap()) {
        assert!(!told.contains(value), "{value}");
    }
    assert!(!told.contains(&id) && !told.contains(RECEPTIONIST));
}
