//! What `#[workflow]`, `#[activity]` and `export!` make of an author's functions.

use wfhost_sdk::{Activity, ActivityContext, Context, Failure, Workflow, activity, workflow};

/// Doubles a number.
///
/// Slowly.
#[workflow]
async fn double(ctx: Context, number: u32) -> anyhow::Result<u32> {
    Ok(ctx.call::<add>(&(number, number)).await?)
}

#[activity(name = "Add", description = "adds")]
fn add(_: ActivityContext, (a, b): (u32, u32)) -> Result<u32, Failure> {
    a.checked_add(b)
        .ok_or_else(|| Failure::new("overflow", "too large"))
}

#[activity]
fn nothing(_: ActivityContext) -> wfhost_sdk::Result<()> {
    Ok("x".parse::<u8>().map(drop)?)
}

wfhost_sdk::export!(workflows: [double], activities: [add, nothing]);

#[test]
fn a_function_is_named_and_described_by_itself_or_by_its_attribute() {
    assert_eq!(
        (double::NAME, double::DESCRIPTION),
        ("double", "Doubles a number.\n\nSlowly.")
    );
    assert_eq!((add::NAME, add::DESCRIPTION), ("Add", "adds"));
    assert_eq!((nothing::NAME, nothing::DESCRIPTION), ("nothing", ""));
}

#[test]
fn a_function_can_be_called_directly_and_by_its_type() {
    assert_eq!(add(ActivityContext::for_test(), (1, 2)), Ok(3));
    assert_eq!(add::run(ActivityContext::for_test(), (1, 2)).unwrap(), 3);
    let error = add::run(ActivityContext::for_test(), (u32::MAX, 1)).unwrap_err();
    assert_eq!(error.kind(), "overflow");
    let error = nothing::run(ActivityContext::for_test(), ()).unwrap_err();
    assert_eq!(format!("{error:?}"), "error: invalid digit found in string");
}
