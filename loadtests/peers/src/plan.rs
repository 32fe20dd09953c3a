//! What is measured, and in which order: the proxies take turns, so that whatever else the machine
//! does hits all of them alike.

use std::time::Duration;

use measure::tell;
use serde::Serialize;

use crate::{
    load::{Point, Round, Spoken},
    proxy::{Kind, Proxy},
    site::{BODIES, Site},
};

const CONNECTIONS: [u32; 4] = [1, 16, 256, 1024];

/// How often, and how long.
#[derive(Clone, Copy)]
pub(crate) struct Rounds {
    pub(crate) count: u32,
    pub(crate) seconds: u64,
}

/// One point of one proxy.
#[derive(Serialize)]
pub(crate) struct Figure {
    pub(crate) kind: Kind,
    pub(crate) point: Point,
    pub(crate) rounds: Vec<Round>,
}

/// Everything: the comparison, and unless it has to be quick what a request costs elsewhere.
pub(crate) fn measure(
    proxies: &[Proxy],
    site: &Site,
    rounds: Rounds,
    quick: bool,
) -> anyhow::Result<Vec<Figure>> {
    let mut points = vec![Point::TINY];
    if !quick {
        points.extend(CONNECTIONS.map(|connections| Point { connections, ..Point::TINY }));
        points.extend(BODIES.map(|(body, _)| Point { body, ..Point::TINY }));
        points.push(Point { many_tokens: true, ..Point::TINY });
        let secure = [Spoken::Https1, Spoken::Http2, Spoken::Http2Many];
        points.extend(secure.map(|spoken| Point { spoken, ..Point::TINY }));
    }
    let mut figures = Vec::new();
    for point in points {
        let of =
            |proxy: &Proxy| Figure { kind: proxy.kind, point: point.clone(), rounds: Vec::new() };
        let able = || proxies.iter().filter(|proxy| proxy.answers(&point));
        let mut all: Vec<_> = able().map(of).collect();
        for number in 1..=rounds.count {
            for (proxy, figure) in able().zip(&mut all) {
                point.warm_up(proxy, site)?;
                let round = point.load(proxy, site, Duration::from_secs(rounds.seconds))?;
                tell(&format!(
                    "{point} {number}/{}: {}: {:.0}/s, {:.1} µs, p50 {:.2} ms, p99 {:.2} ms",
                    rounds.count, proxy.kind, round.per_s, round.cpu_us, round.p50_ms, round.p99_ms,
                ));
                figure.rounds.push(round);
            }
        }
        figures.append(&mut all);
    }
    Ok(figures)
}
