//! Books a flight, a hotel and a car: all three, or none.
//!
//! ```console
//! $ wfhost run workflows/trip-saga --input '{"to":"Rome"}'
//! $ wfhost run workflows/trip-saga --input '{"to":"Rome","no_cars":true}'
//! ```
//!
//! The second fails as `no-cars`, after the hotel and the flight were given back, in this order.
//!
//! Look here for: a saga whose steps bring the call that undoes them, and activities that keep their
//! books in the state store.

use serde::{Deserialize, Serialize};
use wfhost_sdk::{
    ActivityContext, Context, Failure, JsonSchema, Result, Saga, activity, schemars, workflow,
};

wfhost_sdk::export!(
    workflows: [book_trip],
    activities: [book_flight, cancel_flight, book_hotel, cancel_hotel, book_car, cancel_car],
);

/// The input: where to go.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Trip {
    /// The city.
    to: String,
    /// Whether the car rental has no car left: to see what happens then.
    #[serde(default)]
    no_cars: bool,
}

/// The result: what was booked.
#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Bookings {
    flight: Reservation,
    hotel: Reservation,
    car: Reservation,
}

/// One thing that was booked, by its key in the state store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Reservation(String);

/// Books all that a trip needs. If one part cannot be had, gives back what was booked already.
#[workflow]
async fn book_trip(ctx: Context, trip: Trip) -> Result<Bookings> {
    Saga::new(&ctx)
        .run(async |saga| {
            let flight = saga
                .step(ctx.call::<book_flight>(&trip), |flight| {
                    ctx.call::<cancel_flight>(flight)
                })
                .await?;
            let hotel = saga
                .step(ctx.call::<book_hotel>(&trip), |hotel| {
                    ctx.call::<cancel_hotel>(hotel)
                })
                .await?;
            let car = saga
                .step(ctx.call::<book_car>(&trip), |car| {
                    ctx.call::<cancel_car>(car)
                })
                .await?;
            Ok(Bookings { flight, hotel, car })
        })
        .await
}

/// Books a seat.
#[activity]
fn book_flight(ctx: ActivityContext, trip: Trip) -> Result<Reservation> {
    book(&ctx, "flight", &trip)
}

/// Gives the seat back.
#[activity]
fn cancel_flight(ctx: ActivityContext, flight: Reservation) -> Result<()> {
    cancel(&ctx, &flight);
    Ok(())
}

/// Books a room.
#[activity]
fn book_hotel(ctx: ActivityContext, trip: Trip) -> Result<Reservation> {
    book(&ctx, "hotel", &trip)
}

/// Gives the room back.
#[activity]
fn cancel_hotel(ctx: ActivityContext, hotel: Reservation) -> Result<()> {
    cancel(&ctx, &hotel);
    Ok(())
}

/// Books a car, if there is one.
#[activity]
fn book_car(ctx: ActivityContext, trip: Trip) -> Result<Reservation> {
    if trip.no_cars {
        let message = format!("there is no car left in {}", trip.to);
        return Err(Failure::new("no-cars", message).not_retryable().into());
    }
    book(&ctx, "car", &trip)
}

/// Gives the car back.
#[activity]
fn cancel_car(ctx: ActivityContext, car: Reservation) -> Result<()> {
    cancel(&ctx, &car);
    Ok(())
}

/// Writes down a booking. It counts together with the result of the activity, or not at all.
fn book(ctx: &ActivityContext, what: &str, trip: &Trip) -> Result<Reservation> {
    let key = format!("bookings/{}/{what}", ctx.id());
    ctx.state().set(&key, &trip.to)?;
    log::info!("booked a {what} to {}", trip.to);
    Ok(Reservation(key))
}

/// Strikes a booking out; one that is not there is no error.
fn cancel(ctx: &ActivityContext, reservation: &Reservation) {
    ctx.state().delete(&reservation.0);
    log::info!("cancelled {}", reservation.0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use wfhost_sdk::testing::{self, End, Report, Scenario};

    fn trip(no_cars: bool) -> Scenario<book_trip> {
        let to = "Rome".into();
        testing::workflow(Trip { to, no_cars })
            .real_activity::<book_flight>()
            .real_activity::<cancel_flight>()
            .real_activity::<book_hotel>()
            .real_activity::<cancel_hotel>()
            .real_activity::<book_car>()
            .real_activity::<cancel_car>()
    }

    fn booked(report: &Report<Bookings>) -> Vec<&'static str> {
        let is_booked = |what: &&str| {
            report
                .state::<String>(&format!("bookings/test/{what}"))
                .is_some()
        };
        ["flight", "hotel", "car"]
            .into_iter()
            .filter(is_booked)
            .collect()
    }

    #[test]
    fn a_trip_is_booked_as_a_whole() {
        let report = trip(false).run();
        assert_eq!(report.output().unwrap().car.0, "bookings/test/car");
        assert_eq!(booked(&report), ["flight", "hotel", "car"]);
    }

    #[test]
    fn without_a_car_the_hotel_and_the_flight_are_given_back() {
        let report = trip(true).run();
        assert_eq!(report.failure().unwrap().kind(), "no-cars");
        assert_eq!(
            report.activity_names(),
            [
                "book_flight",
                "book_hotel",
                "book_car",
                "cancel_hotel",
                "cancel_flight"
            ]
        );
        assert_eq!(booked(&report), [""; 0]);
    }

    #[test]
    fn a_trip_that_is_cancelled_half_way_is_given_back() {
        let report = trip(false)
            .takes("book_hotel", Duration::from_secs(60))
            .cancel_at(Duration::from_secs(10))
            .run();
        assert_eq!(report.end(), &End::Cancelled);
        // The hotel was being booked: that comes to its end first.
        assert_eq!(
            report.activity_names(),
            ["book_flight", "book_hotel", "cancel_hotel", "cancel_flight"]
        );
        assert_eq!(booked(&report), [""; 0]);
    }
}
