//! The orders that the authority knows of an account (RFC 8555 §7.1.2.1): how an order is found again whose URL was
//! never stored, since the engine that made it died in that moment.

use super::account::Registered;
use super::jws::{As, Signer};
use http::header::LINK;
use instant_acme::Error;
use serde::Deserialize;
use std::collections::BTreeSet;

/// Pages of the list that are read at most.
const MAX_PAGES: usize = 20;
/// Orders that are looked at at most.
const MAX_ORDERS: usize = 200;

#[derive(Deserialize)]
struct AccountObject {
    orders: Option<String>,
}

#[derive(Deserialize)]
struct Page {
    orders: Vec<String>,
}

#[derive(Deserialize)]
struct OrderObject {
    status: String,
    identifiers: Vec<Identifier>,
}

#[derive(Deserialize)]
struct Identifier {
    value: String,
}

/// URL of an unfinished order of exactly these names, where the authority keeps a list.
pub(crate) async fn find(registered: &Registered, names: &[String]) -> Result<Option<String>, Error> {
    let signer = Signer::new(&registered.key)?;
    let account: AccountObject = read(registered, &signer, &registered.id).await?.0;
    let wanted: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let (mut next, mut seen) = (account.orders, 0);
    for _ in 0..MAX_PAGES {
        let Some(url) = next else { break };
        // Authorities that only announce the list answer with an error.
        let Ok((page, link)) = read::<Page>(registered, &signer, &url).await else { break };
        for url in page.orders {
            seen += 1;
            if seen > MAX_ORDERS {
                return Ok(None);
            }
            let order: OrderObject = read(registered, &signer, &url).await?.0;
            let has: BTreeSet<&str> = order.identifiers.iter().map(|it| it.value.as_str()).collect();
            if matches!(order.status.as_str(), "pending" | "ready") && has == wanted {
                return Ok(Some(url));
            }
        }
        next = link;
    }
    Ok(None)
}

/// Reads an object, and where the next page is.
async fn read<T: for<'a> Deserialize<'a>>(
    registered: &Registered,
    signer: &Signer,
    url: &str,
) -> Result<(T, Option<String>), Error> {
    let target = (url, As::Account(&registered.id));
    let answer = signer.post(&registered.fetcher, &registered.directory, target, None).await?;
    let links = answer.headers().get_all(LINK).iter().filter_map(|it| it.to_str().ok());
    let next = links.filter_map(next_page).next();
    Ok((serde_json::from_slice(answer.body())?, next))
}

/// `<URL>;rel="next"` (RFC 8288).
fn next_page(link: &str) -> Option<String> {
    let (url, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let is_next = parameters.split(';').any(|it| matches!(it.trim(), "rel=\"next\"" | "rel=next"));
    is_next.then(|| url.to_owned())
}

#[cfg(test)]
mod tests {
    use super::next_page;

    #[test]
    fn the_next_page_is_found_among_links() {
        assert_eq!(
            next_page("<https://ca/orders?cursor=2>;rel=\"next\"").as_deref(),
            Some("https://ca/orders?cursor=2")
        );
        assert_eq!(next_page("<https://ca/dir>;rel=\"index\""), None);
        assert_eq!(next_page("next"), None);
    }
}
