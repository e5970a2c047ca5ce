//! Finds what a mistyped name may have meant.

/// The candidate that is most similar to a text, if the text can be a typing error of it.
pub fn closest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    closest_of(text, candidates)
}

pub(super) fn closest_of<T: AsRef<str>>(text: &str, candidates: impl IntoIterator<Item = T>) -> Option<T> {
    // One error in three characters. With more, any two short words would be similar.
    let most = text.chars().count().div_ceil(3);
    let text = text.to_lowercase();
    let distances = candidates.into_iter().map(|candidate| {
        let distance = strsim::damerau_levenshtein(&text, &candidate.as_ref().to_lowercase());
        (distance, candidate)
    });
    distances
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, it)| it)
}
