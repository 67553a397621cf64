//! What was compressed with gzip, as it was before.

use std::io::Read;

use flate2::read::GzDecoder;

/// At most `limit` bytes of it: what claims to be more is an error.
pub fn gunzip(compressed: &[u8], limit: usize) -> std::io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    GzDecoder::new(compressed).take(limit as u64 + 1).read_to_end(&mut plain)?;
    if plain.len() > limit {
        return Err(std::io::Error::other(format!("it comes to more than {limit} bytes")));
    }
    Ok(plain)
}
