//! Which day it is where the clinic is: neither the host's nor that of UTC.

use jiff::ToSpan as _;
use reqwest::StatusCode;
use serde_json::json;
use shared_middleware::clock::{Clock, time_zone};

use crate::test_mesh::{ADMIN, TestMesh, a_patient};

/// The first and the last place on Earth where a day begins: at any time one of them has another
/// day than UTC has.
const PLACES: [&str; 2] = ["Pacific/Kiritimati", "Etc/GMT+12"];

#[tokio::test]
async fn the_clinics_day_decides_what_is_in_the_future_and_what_today_is() {
    for place in PLACES {
        let world = TestMesh::start_with(&[("MEDISYNC_CLINIC__TIME_ZONE", place)]).await;
        let admin = world.sign_in(ADMIN).await;
        let clock = Clock::system().in_zone(time_zone(place).unwrap());
        let born = |date: jiff::civil::Date| {
            let mut patient = a_patient();
            patient["dateOfBirth"] = json!(date.to_string());
            patient
        };
        let before = clock.today();
        let registered = admin.post("/api/patients", &born(before)).await;
        let tomorrow = born(clock.today().checked_add(1.day()).unwrap());
        let ahead = admin.post("/api/patients", &tomorrow).await;
        if clock.today() != before {
            // Midnight there, of all moments.
            continue;
        }
        let patient = registered.expect(StatusCode::CREATED).json();
        assert_eq!(patient["registeredDate"], before.to_string(), "{place}");
        ahead.refused(400, "invalid");
        world.drain().await;
        let summary = admin.get("/api/analytics/summary").await.json();
        let days = summary["byDay"].as_array().unwrap();
        assert_eq!(days.last().unwrap()["date"], before.to_string(), "{place}: {summary}");
    }
}
