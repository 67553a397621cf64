//! What a scalar without quotes means. SAM and CloudFormation read YAML 1.1: `yes` is `true`, `0755`
//! an octal number and `1.10` the number 1.1; as text, that is what arrives.

/// The text of the value that plain text stands for; `None`: itself.
pub fn canonical(text: &str) -> Option<String> {
    let read = match text {
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => "true".to_owned(),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => "false".to_owned(),
        _ => integer(text).map(|number| number.to_string()).or_else(|| decimal(text))?,
    };
    (read != text).then_some(read)
}

/// Whether it is a number that is written in another way than it is read.
pub fn is_number(canonical: &str) -> bool {
    !matches!(canonical, "true" | "false")
}

fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let number = if digits.contains(':') {
        sexagesimal(digits)?
    } else if let Some(digits) = digits.strip_prefix("0x") {
        of_radix(digits, 16)?
    } else if let Some(digits) = digits.strip_prefix("0b") {
        of_radix(digits, 2)?
    } else if let Some(octal) = digits.strip_prefix('0').filter(|rest| !rest.is_empty()) {
        of_radix(octal, 8)?
    } else {
        of_radix(digits, 10)?
    };
    Some(if negative { -number } else { number })
}

fn of_radix(digits: &str, radix: u32) -> Option<i128> {
    let digits = digits.replace('_', "");
    if digits.starts_with(['+', '-']) { None } else { i128::from_str_radix(&digits, radix).ok() }
}

/// `1:30` is ninety.
fn sexagesimal(digits: &str) -> Option<i128> {
    let mut parts = digits.split(':');
    let first = parts.next().filter(|first| !first.starts_with('0'))?;
    parts.try_fold(of_radix(first, 10)?, |number, part| {
        let valid = matches!(part.len(), 1 | 2) && part.bytes().all(|byte| byte.is_ascii_digit());
        let part: i128 = part.parse().ok().filter(|part| valid && *part < 60)?;
        number.checked_mul(60)?.checked_add(part)
    })
}

fn decimal(text: &str) -> Option<String> {
    let digits = text.trim_start_matches(['+', '-']);
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'_'));
    // More digits than a double keeps: what comes out depends on who prints it.
    let sized = digits.len() <= 15 && text.len() - digits.len() <= 1;
    let starts = digits.starts_with(|first: char| first.is_ascii_digit());
    if !plain || !sized || !starts || digits.bytes().filter(|byte| *byte == b'.').count() != 1 {
        return None;
    }
    let number: f64 = text.replace('_', "").parse().ok()?;
    Some(format!("{number:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_yaml_1_1_does() {
        for (text, expected) in [
            ("true", "true"),
            ("Yes", "true"),
            ("off", "false"),
            ("y", "y"),
            ("0755", "493"),
            ("0", "0"),
            ("00", "0"),
            ("0x1F", "31"),
            ("0b101", "5"),
            ("1_000", "1000"),
            ("+5", "5"),
            ("-5", "-5"),
            ("22:22", "1342"),
            ("22:60", "22:60"),
            ("012345678901", "012345678901"),
            ("123456789012", "123456789012"),
            ("1.10", "1.1"),
            ("1.0", "1.0"),
            ("-2.50", "-2.5"),
            ("3.0.1", "3.0.1"),
            ("2012-10-17", "2012-10-17"),
            ("10.0.0.1", "10.0.0.1"),
            ("1e3", "1e3"),
            (".", "."),
            ("", ""),
            ("-", "-"),
            ("0x", "0x"),
            ("1.123456789012345678", "1.123456789012345678"),
        ] {
            assert_eq!(canonical(text).as_deref().unwrap_or(text), expected, "{text}");
        }
    }
}
