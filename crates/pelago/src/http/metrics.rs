//! `/metrics`: the node's own samples and those of this API as OpenMetrics, every series from the start.

use pelago_node::api::Sample;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet, text::encode},
    metrics::{MetricType, counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use std::{collections::BTreeMap, fmt, time::Duration};

pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    route: String,
    method: String,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Listener {
    listener: &'static str,
}

/// What this API counts about itself.
#[derive(Debug)]
pub(crate) struct Metrics {
    requests: Family<Route, Histogram, fn() -> Histogram>,
    refused: Family<Reason, Counter>,
    connections: Family<Listener, Gauge>,
    streams: Gauge,
}

impl Metrics {
    /// All series, at zero. `routes` are `(method, path)`.
    pub(crate) fn new(routes: impl Iterator<Item = (&'static str, &'static str)>) -> Self {
        let buckets: fn() -> Histogram =
            || Histogram::new([0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0]);
        let metrics = Self {
            requests: Family::new_with_constructor(buckets),
            refused: Family::default(),
            connections: Family::default(),
            streams: Gauge::default(),
        };
        for (method, route) in routes {
            drop(metrics.requests.get_or_create(&Route {
                route: route.into(),
                method: method.into(),
                code: 200,
            }));
        }
        for reason in [
            "accept",
            "busy",
            "displaced",
            "not-allowed",
            "timeout",
            "tls",
            "streams",
        ] {
            drop(metrics.refused.get_or_create(&Reason { reason }));
        }
        for listener in ["tcp", "unix"] {
            drop(metrics.connections.get_or_create(&Listener { listener }));
        }
        metrics
    }

    /// One request answered. The route must come out of the router, never out of the request.
    pub(crate) fn answered(&self, route: &str, method: &str, code: u16, took: Duration) {
        let labels = Route {
            route: route.into(),
            method: method.into(),
            code,
        };
        self.requests
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
    }

    pub(crate) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&Reason { reason }).inc();
    }

    /// Counts a connection as open until the guard is dropped.
    pub(crate) fn connection(&self, listener: &'static str) -> Open {
        Open::new(
            self.connections
                .get_or_create(&Listener { listener })
                .clone(),
        )
    }

    /// Counts an event stream as open until the guard is dropped.
    pub(crate) fn stream(&self) -> Open {
        Open::new(self.streams.clone())
    }

    /// Everything as text.
    pub(crate) fn render(&self, samples: Vec<Sample>) -> Result<String, fmt::Error> {
        let mut registry = Registry::with_prefix("pelago");
        let help = "Time from the end of a request's head to the start of its answer, in seconds";
        registry.register("http_request_duration_seconds", help, self.requests.clone());
        registry.register(
            "http_refused",
            "Requests and connections turned away",
            self.refused.clone(),
        );
        registry.register(
            "http_connections",
            "Open connections",
            self.connections.clone(),
        );
        registry.register(
            "http_event_streams",
            "Open event streams",
            self.streams.clone(),
        );
        registry.register_collector(Box::new(Samples(samples)));
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }
}

/// Something open that is counted.
#[derive(Debug)]
pub(crate) struct Open(Gauge);

impl Open {
    fn new(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[derive(Debug)]
struct Samples(Vec<Sample>);

impl Collector for Samples {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // One description per name, however the node orders its samples.
        let mut families: BTreeMap<&str, Vec<&Sample>> = BTreeMap::new();
        for sample in &self.0 {
            families.entry(sample.name).or_default().push(sample);
        }
        for (name, samples) in families {
            let Some(first) = samples.first() else {
                continue;
            };
            let kind = if first.counter {
                MetricType::Counter
            } else {
                MetricType::Gauge
            };
            let mut family = encoder.encode_descriptor(name, first.help, None, kind)?;
            for sample in &samples {
                match sample.labels.is_empty() {
                    true => value(&mut family, sample)?,
                    false => value(&mut family.encode_family(&sample.labels)?, sample)?,
                }
            }
        }
        Ok(())
    }
}

fn value(metric: &mut MetricEncoder<'_>, sample: &Sample) -> fmt::Result {
    match sample.counter {
        true => metric.encode_counter::<NoLabelSet, f64, f64>(&sample.value, None),
        false => metric.encode_gauge(&sample.value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_and_own_series_are_there_from_the_start() {
        let metrics = Metrics::new([("GET", "/v1/members")].into_iter());
        let sample = |name, counter, labels, value| Sample {
            name,
            help: "Help",
            counter,
            labels,
            value,
        };
        let text = metrics
            .render(vec![
                sample("drops", true, vec![("reason", "size".to_owned())], 3.0),
                sample("health", false, vec![], 0.0),
                sample("drops", true, vec![("reason", "version".to_owned())], 0.0),
            ])
            .expect("renders");
        for line in [
            "pelago_drops_total{reason=\"size\"} 3.0",
            "pelago_drops_total{reason=\"version\"} 0.0",
            "pelago_health 0.0",
            "pelago_http_refused_total{reason=\"busy\"} 0",
            "pelago_http_connections{listener=\"unix\"} 0",
            "pelago_http_request_duration_seconds_count{route=\"/v1/members\",method=\"GET\",code=\"200\"} 0",
        ] {
            assert!(
                text.lines().any(|it| it == line),
                "{line} is missing in\n{text}"
            );
        }
        assert_eq!(text.matches("# TYPE pelago_drops ").count(), 1);
        assert!(text.ends_with("# EOF\n"));
    }
}
