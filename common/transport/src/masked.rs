//! URLs of services, fit to be shown.

/// `url` fit for a log line: no password, no query.
///
/// It doesn't parse: what is no valid URL may hold a password all the same.
pub fn masked(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    // The last `@` and not the first: a password that holds one unescaped must not show its end.
    let shown = match rest.rsplit_once('@') {
        Some((userinfo, host)) => {
            let user = userinfo.split_once(':').map_or("", |(user, _)| user);
            format!("{user}{}***@{}", if user.is_empty() { "" } else { ":" }, without_query(host))
        }
        None => without_query(rest).to_owned(),
    };
    if scheme.is_empty() { shown } else { format!("{scheme}://{shown}") }
}

fn without_query(text: &str) -> &str {
    text.split(['?', '#']).next().unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masked_url_holds_no_password() {
        let cases = [
            ("amqp://u:SECRET@h:1/v", "amqp://u:***@h:1/v"),
            ("redis://:SECRET@h/0", "redis://***@h/0"),
            ("redis://SECRET@h/0", "redis://***@h/0"),
            ("amqp://u:a@SECRET@h", "amqp://u:***@h"),
            ("amqp://u:a/SECRET@h", "amqp://u:***@h"),
            ("amqp://u:a?SECRET@h", "amqp://u:***@h"),
            ("redis://h/?password=SECRET", "redis://h/"),
            ("u:SECRET@h", "u:***@h"),
            ("amqp://h:1/%2f", "amqp://h:1/%2f"),
            ("", ""),
        ];
        for (url, shown) in cases {
            assert_eq!(masked(url), shown);
        }
    }
}
