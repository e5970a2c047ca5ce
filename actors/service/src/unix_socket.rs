//! A Unix socket that only its owner can open.

#[cfg(unix)]
mod socket {
    use std::{
        fs, io,
        os::unix::fs::{FileTypeExt, PermissionsExt},
        path::{Path, PathBuf},
    };

    use tokio::net::{UnixListener, UnixStream};

    use crate::error::Error;

    #[derive(Debug)]
    pub(crate) struct UnixSocket {
        listener: UnixListener,
        path: PathBuf,
    }

    impl Drop for UnixSocket {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.path);
        }
    }

    impl UnixSocket {
        /// Listens. A socket that a process left when it was killed is replaced.
        pub(crate) async fn bind(path: &Path) -> Result<Self, Error> {
            let failed = |source| Error::Socket { path: path.to_owned(), source };
            let is_socket = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
            if is_socket {
                if UnixStream::connect(path).await.is_ok() {
                    return Err(Error::SocketInUse(path.to_owned()));
                }
                fs::remove_file(path).map_err(failed)?;
            }
            // The file gets its mode before anybody can find it under its name.
            let hidden = path.with_extension(format!("{}.new", std::process::id()));
            let listener = UnixListener::bind(&hidden).map_err(failed)?;
            let placed = fs::set_permissions(&hidden, fs::Permissions::from_mode(0o600))
                .and_then(|()| fs::rename(&hidden, path));
            if let Err(error) = placed {
                let _ = fs::remove_file(&hidden);
                return Err(failed(error));
            }
            Ok(Self { listener, path: path.to_owned() })
        }

        pub(crate) async fn accept(&self) -> io::Result<UnixStream> {
            Ok(self.listener.accept().await?.0)
        }
    }
}

#[cfg(not(unix))]
mod socket {
    use std::{convert::Infallible, io, path::Path};

    use crate::error::Error;

    #[derive(Debug)]
    pub(crate) struct UnixSocket(Infallible);

    impl UnixSocket {
        pub(crate) async fn bind(path: &Path) -> Result<Self, Error> {
            Err(Error::Socket { path: path.to_owned(), source: io::ErrorKind::Unsupported.into() })
        }

        pub(crate) async fn accept(&self) -> io::Result<tokio::net::TcpStream> {
            match self.0 {}
        }
    }
}

pub(crate) use socket::UnixSocket;
