//! One GET to somebody outside of the mesh: over TLS, by authorities that are not ours.

use std::{io, path::Path, sync::Arc};

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio_rustls::TlsConnector;

use crate::{
    client::{ClientError, connect, exchange, get_request},
    tls::{TlsError, certificates},
};

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExternalFetchError {
    /// The connection, or the answer.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The file of the authorities.
    #[error(transparent)]
    Authorities(#[from] TlsError),
    /// Nobody is trusted, so nobody can be called.
    #[error("this system has no authorities to trust; name a file of them")]
    NoAuthority,
    /// The task that reads the authorities was ended.
    #[error("the authorities were not read")]
    Interrupted(#[from] tokio::task::JoinError),
}

/// Fetches a URL: `https` from whom these authorities vouch for (the system's own when there is no
/// file), `http` from anybody. Whatever is not 200 is an error, redirects too, and so is an answer
/// that is longer than `answer_bytes_max`.
pub(crate) async fn get(
    url: &Uri,
    authorities: Option<&Path>,
    answer_bytes_max: usize,
) -> Result<Vec<u8>, ExternalFetchError> {
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let named = url.authority().map_or("", |authority| authority.as_str());
    let request = get_request(path)?;
    if url.scheme_str() != Some("https") {
        let (stream, _) = connect(url, 80).await?;
        return Ok(exchange(TokioIo::new(stream), named, request, answer_bytes_max).await?);
    }
    let authorities = authorities.map(Path::to_owned);
    // They are read anew each time, so that new ones count at once: this is done once a minute.
    let config =
        tokio::task::spawn_blocking(move || client_config(authorities.as_deref())).await??;
    let (stream, address) = connect(url, 443).await?;
    let refused = |error| ClientError::Connect(error, address.clone());
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(host).map_err(|error| refused(io::Error::other(error)))?;
    let stream =
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(refused)?;
    Ok(exchange(TokioIo::new(stream), named, request, answer_bytes_max).await?)
}

fn client_config(authorities: Option<&Path>) -> Result<ClientConfig, ExternalFetchError> {
    let found = match authorities {
        Some(file) => certificates(file)?,
        // What could not be read of them is missing, and those who need it are not trusted.
        None => rustls_native_certs::load_native_certs().certs,
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found);
    if roots.is_empty() {
        return Err(ExternalFetchError::NoAuthority);
    }
    Ok(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use http::StatusCode;

    use super::*;
    use crate::key_server::{KeyServer, answer};

    const BYTES_MAX: usize = 1000;

    /// A server, and the file of its authority.
    struct World {
        server: KeyServer,
        folder: tempfile::TempDir,
    }

    impl World {
        async fn new() -> Self {
            crate::token::install_crypto();
            let server = KeyServer::start(0, answer(200, "", "keys")).await;
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("ca.pem"), server.authority()).unwrap();
            Self { server, folder }
        }

        fn ca(&self) -> PathBuf {
            self.folder.path().join("ca.pem")
        }

        async fn get(&self) -> Result<Vec<u8>, ExternalFetchError> {
            get(&self.server.url().parse().unwrap(), Some(&self.ca()), BYTES_MAX).await
        }
    }

    #[tokio::test]
    async fn whom_the_authority_vouches_for_is_asked_and_nobody_else() {
        let (world, other) = (World::new().await, World::new().await);
        assert_eq!(world.get().await.unwrap(), b"keys");
        let url = world.server.url().parse().unwrap();
        for authorities in [Some(other.ca()), None] {
            let refused = get(&url, authorities.as_deref(), BYTES_MAX).await;
            assert!(refused.is_err(), "{refused:?}");
        }
        let missing = get(&url, Some(&world.folder.path().join("none.pem")), BYTES_MAX).await;
        assert!(matches!(missing, Err(ExternalFetchError::Authorities(_))), "{missing:?}");
        assert_eq!(world.server.asked(), 1);
    }

    #[tokio::test]
    async fn no_redirect_is_followed() {
        let (world, other) = (World::new().await, World::new().await);
        let location = format!("location: {}\r\n", other.server.url());
        for status in [301, 302, 303, 307, 308] {
            world.server.answer_with(answer(status, &location, "keys"));
            let refused = world.get().await.unwrap_err();
            let wanted = StatusCode::from_u16(status).unwrap();
            let is_it = matches!(
                refused,
                ExternalFetchError::Client(ClientError::Status(status)) if status == wanted
            );
            assert!(is_it, "{refused:?}");
        }
        assert_eq!(other.server.asked(), 0);
    }

    #[tokio::test]
    async fn an_answer_that_is_too_long_is_not_read() {
        let world = World::new().await;
        world.server.answer_with(answer(200, "", &"x".repeat(BYTES_MAX)));
        world.get().await.unwrap();
        world.server.answer_with(answer(200, "", &"x".repeat(BYTES_MAX + 1)));
        let refused = world.get().await;
        assert!(
            matches!(refused, Err(ExternalFetchError::Client(ClientError::Body(_)))),
            "{refused:?}"
        );
    }
}
