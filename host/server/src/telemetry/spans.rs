//! Spans: of an instance's run, of each attempt, of each request.
//!
//! The id of a span follows from what it is of, so that whoever does a thing again after a crash, or
//! replays it, tells of the same span. The trace is the caller's; of an instance that nobody told
//! one, its run is the trace.

use std::time::SystemTime;

use axum::http::HeaderMap;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status as SpanStatus, TraceContextExt as _, TraceFlags, TraceId,
    TraceState,
};
use opentelemetry::{Context, InstrumentationScope, KeyValue};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SpanData;
use uuid::Uuid;
use wfhost_core::decide::AttemptFence;
use wfhost_core::{Digest, Instance, InstanceId, Name, RunId, Status, Timestamp, Trace};

use super::Telemetry;

/// An instance, as logs and spans name it.
#[derive(Debug, Clone)]
pub(crate) struct About {
    pub(crate) id: InstanceId,
    pub(crate) run: RunId,
    pub(crate) workflow: Name,
    pub(crate) module: Digest,
    pub(crate) trace: Option<Trace>,
}

impl About {
    pub(crate) fn of(instance: &Instance) -> Self {
        let started = instance.started();
        Self {
            id: started.id.clone(),
            run: started.run,
            workflow: started.workflow.clone(),
            module: instance.module(),
            trace: started.trace.clone(),
        }
    }

    /// Whether somebody wants the trace recorded.
    fn is_sampled(&self) -> bool {
        self.trace.as_ref().is_none_or(Trace::is_sampled)
    }

    fn trace_id(&self) -> u128 {
        self.trace.as_ref().map_or(self.run.0, |trace| trace.id)
    }

    fn context(&self, span: u64) -> SpanContext {
        context(self.trace_id(), span, state_of(self.trace.as_ref()))
    }
}

/// An attempt that has ended.
#[derive(Debug, Clone)]
pub(crate) struct AttemptDone {
    pub(crate) activity: Name,
    pub(crate) fence: AttemptFence,
    /// The module that ran it.
    pub(crate) module: Digest,
    pub(crate) started_at: Timestamp,
    pub(crate) ended_at: Timestamp,
    /// The kind of its failure, and what it says.
    pub(crate) failed: Option<(String, String)>,
}

/// A request that is being answered.
pub(crate) struct RequestSpan {
    context: SpanContext,
    parent: SpanId,
    begun: SystemTime,
}

/// The span of an instance's run.
pub(crate) fn instance_span(run: RunId) -> u64 {
    span_id(&[b"instance", &run.0.to_be_bytes()])
}

/// The span of an attempt.
pub(crate) fn attempt_span(fence: AttemptFence) -> u64 {
    span_id(&[
        b"attempt",
        &fence.run.0.to_be_bytes(),
        &fence.generation.to_be_bytes(),
        &fence.task.0.to_be_bytes(),
        &fence.number.to_be_bytes(),
    ])
}

fn span_id(parts: &[&[u8]]) -> u64 {
    let digest = Digest::of(&parts.concat());
    let [a, b, c, d, e, f, g, h, ..] = *digest.as_bytes();
    // 0 is no span.
    u64::from_be_bytes([a, b, c, d, e, f, g, h]).max(1)
}

/// The place in a trace that a request says it comes from.
pub(crate) fn caller(headers: &HeaderMap) -> Option<Trace> {
    let read = TraceContextPropagator::new()
        .extract_with_context(&Context::new(), &HeaderExtractor(headers));
    let span = read.span();
    let context = span.span_context();
    let state = context.trace_state().header();
    context.is_valid().then(|| Trace {
        id: u128::from_be_bytes(context.trace_id().to_bytes()),
        span: u64::from_be_bytes(context.span_id().to_bytes()),
        flags: context.trace_flags().to_u8(),
        // One that is too long is not cut: half an entry means something else.
        state: if state.len() <= Trace::STATE_BYTES_MAX {
            state
        } else {
            String::new()
        },
    })
}

/// How traces go on.
impl Telemetry {
    /// The place that something within a run is told: below that span, where spans are sent; else
    /// what the run itself was told.
    pub(crate) fn below(&self, run: RunId, trace: Option<&Trace>, span: u64) -> Option<Trace> {
        match (trace, &self.traces) {
            (Some(trace), Some(_)) => Some(trace.below(span)),
            (None, Some(_)) => Some(Trace {
                id: run.0,
                span,
                flags: Trace::SAMPLED,
                state: String::new(),
            }),
            (trace, None) => trace.cloned(),
        }
    }

    /// The span of a run that has ended.
    pub(crate) fn instance_done(
        &self,
        about: &About,
        instance: &Instance,
        why: Option<&str>,
    ) -> Option<SpanData> {
        self.traces.as_ref().filter(|_| about.is_sampled())?;
        let started = instance.started();
        let status = instance.status();
        let parent = about.trace.as_ref().map_or(0, |trace| trace.span);
        Some(SpanData {
            attributes: vec![
                KeyValue::new("wfhost.workflow", about.workflow.to_string()),
                KeyValue::new("wfhost.instance", about.id.to_string()),
                KeyValue::new("wfhost.run", about.run.to_string()),
                KeyValue::new("wfhost.module", about.module.to_string()),
                KeyValue::new("wfhost.status", status.as_str()),
                KeyValue::new("wfhost.generation", i64::from(started.generation)),
            ],
            status: match status {
                Status::Failed => SpanStatus::error(why.unwrap_or_default().to_owned()),
                _ => SpanStatus::Unset,
            },
            parent_span_id: parent.into(),
            parent_span_is_remote: about.trace.is_some() && started.parent.is_none(),
            ..span(
                format!("workflow {}", about.workflow),
                about.context(instance_span(about.run)),
                (time(started.created_at), time(instance.updated_at())),
            )
        })
    }

    /// The span of an attempt.
    pub(crate) fn attempt_done(&self, about: &About, done: &AttemptDone) -> Option<SpanData> {
        self.traces.as_ref().filter(|_| about.is_sampled())?;
        let outcome = done.failed.as_ref().map_or("completed", |_| "failed");
        let kind = done.failed.as_ref().map(|(kind, _)| kind.clone());
        let mut attributes = vec![
            KeyValue::new("wfhost.workflow", about.workflow.to_string()),
            KeyValue::new("wfhost.instance", about.id.to_string()),
            KeyValue::new("wfhost.activity", done.activity.to_string()),
            KeyValue::new("wfhost.task", i64::from(done.fence.task.0)),
            KeyValue::new("wfhost.attempt", i64::from(done.fence.number)),
            KeyValue::new("wfhost.module", done.module.to_string()),
            KeyValue::new("wfhost.outcome", outcome),
        ];
        attributes.extend(kind.map(|kind| KeyValue::new("error.type", kind)));
        Some(SpanData {
            attributes,
            status: match &done.failed {
                Some((_, message)) => SpanStatus::error(message.clone()),
                None => SpanStatus::Ok,
            },
            parent_span_id: instance_span(about.run).into(),
            ..span(
                format!("activity {}", done.activity),
                about.context(attempt_span(done.fence)),
                (time(done.started_at), time(done.ended_at)),
            )
        })
    }

    /// The span of a request that begins; none if nobody wants it.
    pub(crate) fn request_begun(&self, caller: Option<&Trace>) -> Option<RequestSpan> {
        self.traces.as_ref()?;
        let sampled = caller.is_none_or(Trace::is_sampled);
        let random = Uuid::new_v4().as_u128();
        let span = Uuid::new_v4().as_u64_pair().0;
        sampled.then(|| RequestSpan {
            context: context(
                caller.map_or(random, |caller| caller.id),
                span,
                state_of(caller),
            ),
            parent: caller.map_or(0, |caller| caller.span).into(),
            begun: SystemTime::now(),
        })
    }

    /// A request was answered.
    pub(crate) fn request_done(
        &self,
        request: RequestSpan,
        method: &str,
        (route, path): (Option<&str>, &str),
        status: u16,
    ) {
        let Some(traces) = &self.traces else { return };
        let mut attributes = vec![
            KeyValue::new("http.request.method", method.to_owned()),
            KeyValue::new("url.path", path.to_owned()),
            KeyValue::new("http.response.status_code", i64::from(status)),
        ];
        attributes.extend(route.map(|route| KeyValue::new("http.route", route.to_owned())));
        let name = route.map_or(method.to_owned(), |route| format!("{method} {route}"));
        traces.export(SpanData {
            attributes,
            span_kind: SpanKind::Server,
            status: match status {
                500.. => SpanStatus::error(format!("status {status}")),
                _ => SpanStatus::Unset,
            },
            parent_span_id: request.parent,
            parent_span_is_remote: true,
            ..span(name, request.context, (request.begun, SystemTime::now()))
        });
    }
}

impl RequestSpan {
    /// Its id.
    pub(crate) fn id(&self) -> u64 {
        u64::from_be_bytes(self.context.span_id().to_bytes())
    }
}

fn span(name: String, context: SpanContext, (begun, ended): (SystemTime, SystemTime)) -> SpanData {
    SpanData {
        span_context: context,
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: name.into(),
        start_time: begun,
        // A clock may have been set back.
        end_time: ended.max(begun),
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: Default::default(),
        links: Default::default(),
        status: SpanStatus::Unset,
        instrumentation_scope: InstrumentationScope::builder("wfhost")
            .with_version(env!("CARGO_PKG_VERSION"))
            .build(),
    }
}

fn context(trace: u128, span: u64, state: TraceState) -> SpanContext {
    let (trace, span) = (TraceId::from(trace), SpanId::from(span));
    SpanContext::new(trace, span, TraceFlags::SAMPLED, false, state)
}

fn state_of(trace: Option<&Trace>) -> TraceState {
    let state = trace.map(|trace| trace.state.parse());
    state.and_then(Result::ok).unwrap_or_default()
}

fn time(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(at.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wfhost_core::TaskId;

    #[test]
    fn spans_of_different_things_differ_and_those_of_the_same_do_not() {
        let fence = AttemptFence {
            run: RunId(1),
            generation: 0,
            task: TaskId(1),
            number: 1,
        };
        let ids = [
            instance_span(RunId(1)),
            instance_span(RunId(2)),
            attempt_span(fence),
            attempt_span(AttemptFence { number: 2, ..fence }),
            attempt_span(AttemptFence {
                generation: 1,
                ..fence
            }),
        ];
        let different: std::collections::BTreeSet<_> = ids.into_iter().collect();
        assert_eq!(different.len(), ids.len());
        assert_eq!(attempt_span(fence), ids[2]);
    }

    #[test]
    fn a_caller_is_read_as_w3c_has_it_and_nonsense_is_not() {
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let long = format!("a={}", "b".repeat(Trace::STATE_BYTES_MAX));
        for (given, state, read) in [
            (parent, "", Some("")),
            (parent, "vendor=1,other=2", Some("vendor=1,other=2")),
            (parent, long.as_str(), Some("")),
            (
                "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
                "",
                None,
            ),
            ("nonsense", "vendor=1", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("traceparent", given.parse().unwrap());
            headers.insert("tracestate", state.parse().unwrap());
            let caller = caller(&headers);
            let told = caller.as_ref().map(|caller| caller.state.as_str());
            assert_eq!(told, read, "{given} {state}");
            if let Some(caller) = caller {
                assert_eq!(caller.parent_header(), parent);
            }
        }
    }
}
