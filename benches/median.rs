//! The middle of some values.

/// The median, which one disturbed round does not move; not a number if there are no values.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

/// The median of what each round of two sides gives: a disturbance of the machine affects both sides of a round.
#[allow(dead_code, reason = "not every bench has two sides")]
pub fn of_rounds(left: &[f64], right: &[f64], with: impl Fn(f64, f64) -> f64) -> f64 {
    median(left.iter().zip(right).map(|(left, right)| with(*left, *right)).collect())
}
