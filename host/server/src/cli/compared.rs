//! What came of comparing instances with other code, for people and as JSON.

use super::{Failure, print, text};
use crate::plan::Plan;
use crate::verdict::{Compared, Verdict};

/// So many instances of each verdict are shown with both sides.
const SHOWN_MAX: usize = 10;

pub(super) fn print_plan(plan: &Plan) -> Result<(), Failure> {
    let seconds = std::time::Duration::from_millis(plan.took_ms).as_secs_f64();
    print(&format!("live instances, compared in {seconds:.1} s:"))?;
    print_compared(&plan.live)?;
    if let Some(ended) = &plan.ended {
        print("of those that have ended, a sample:")?;
        print_compared(ended)?;
    }
    if plan.live.histories > 0 {
        print(
            "This says what the code does in the turns that were taken, not what it will do next.",
        )?;
    }
    Ok(())
}

pub(super) fn print_compared(compared: &Compared) -> Result<(), Failure> {
    lines(compared).iter().try_for_each(|line| print(line))
}

/// How many there were of each, and the first of those that do not do the same, with both sides.
pub(super) fn lines(compared: &Compared) -> Vec<String> {
    let turns = text::count(compared.turns, "turn");
    let mut lines = match compared.histories {
        0 => return vec!["  none".into()],
        1 => vec![format!("  1 history, {turns}")],
        histories => vec![format!("  {histories} histories, {turns}")],
    };
    let counts = compared.verdicts.by_word().into_iter();
    let counts = counts.filter(|(_, count)| *count > 0);
    lines.extend(counts.map(|(word, count)| format!("  {word:<18} {count}")));
    let others = compared.instances.iter();
    let others = others
        .filter(|it| it.verdict != Verdict::Same)
        .take(SHOWN_MAX);
    let mut shown = 0;
    for one in others {
        shown += 1;
        lines.push(format!("  {} {}", one.id, one.verdict.word()));
        lines.extend(
            one.verdict
                .to_string()
                .lines()
                .map(|line| format!("    {line}")),
        );
    }
    let more = (compared.histories - compared.verdicts.same).saturating_sub(shown);
    if more > 0 {
        lines.push(format!(
            "  and {more} more that do not do the same; --json lists them"
        ));
    }
    lines
}
