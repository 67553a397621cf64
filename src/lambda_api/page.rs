//! Lists that come in pages: `Marker`, `MaxItems`, `NextMarker`.

use serde::Deserialize;

use super::error::ApiError;

/// As many as AWS gives at once, whatever is asked for.
const MOST: usize = 50;

#[derive(Debug, Default, Deserialize)]
pub struct Page {
    #[serde(rename = "Marker")]
    marker: Option<String>,
    #[serde(rename = "MaxItems")]
    max_items: Option<String>,
}

impl Page {
    /// The part of `items` that is meant, and the marker of the next. `key`: what an item is known by;
    /// a marker is the key of the last item that was given.
    pub fn of<T>(
        &self,
        items: Vec<T>,
        key: impl Fn(&T) -> String,
    ) -> Result<(Vec<T>, Option<String>), ApiError> {
        let size = match self.max_items.as_deref().map(|text| (text, text.parse::<usize>())) {
            None => MOST,
            Some((_, Ok(wanted @ 1..))) => wanted.min(MOST),
            Some((text, _)) => {
                return Err(ApiError::Validation(format!(
                    "1 validation error detected: Value '{text}' at 'maxItems' failed to satisfy constraint: Member \
                     must have value greater than or equal to 1"
                )));
            }
        };
        let start = match self.marker.as_deref().filter(|marker| !marker.is_empty()) {
            None => 0,
            // What is not there any more ends the list, rather than beginning it anew.
            Some(marker) => {
                items.iter().position(|item| key(item) == marker).map_or(items.len(), |index| index + 1)
            }
        };
        let more = items.len() > start.saturating_add(size);
        let page: Vec<T> = items.into_iter().skip(start).take(size).collect();
        let next = page.last().filter(|_| more).map(key);
        Ok((page, next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_whole_together() {
        let mut page = Page { marker: None, max_items: Some("3".into()) };
        let mut all = Vec::new();
        loop {
            let (part, next) = page.of((0..7).collect(), |number: &i32| number.to_string()).unwrap();
            assert!(part.len() <= 3);
            all.extend(part);
            match next {
                Some(next) => page.marker = Some(next),
                None => break,
            }
        }
        assert_eq!(all, [0, 1, 2, 3, 4, 5, 6]);
        let lost = Page { marker: Some("gone".into()), max_items: None };
        assert_eq!(lost.of(vec![1], |number: &i32| number.to_string()).unwrap(), (vec![], None));
        for wrong in ["0", "-1", "x", ""] {
            let page = Page { marker: None, max_items: Some(wrong.into()) };
            assert!(page.of(vec![1], |number: &i32| number.to_string()).is_err(), "{wrong}");
        }
        assert_eq!(Page::default().of((0..60).collect(), |n: &i32| n.to_string()).unwrap().0.len(), 50);
    }
}
