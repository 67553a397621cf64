//! Publishing and everything around it, on a real folder and through restarts.

use std::time::Duration;

use super::*;
use crate::function::{Code, Configuration, ContentHash, LayerVersion};
use crate::store::Key;

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        std::fs::create_dir_all(place.code()).unwrap();
        std::fs::create_dir_all(place.state()).unwrap();
        place
    }

    fn code(&self) -> PathBuf {
        self.folder.path().join("handlers/hello")
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join(".handlerd")
    }

    fn open(&self) -> Published {
        let store = Store::open(&self.state()).unwrap();
        let published = Published::open(store, &self.state()).unwrap();
        published.clean(Some(&BTreeSet::new()));
        published
    }

    /// The function as it would be deployed with this source.
    fn function(&self, source: &str, layers: &[PathBuf]) -> Arc<Function> {
        std::fs::write(self.code().join("app.py"), source).unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let hash = |folder: &Path, to: &str| copy::copy(folder, &scratch.path().join(to)).unwrap();
        let code = hash(&self.code(), "code");
        let layer_hashes: Vec<[u8; 32]> =
            layers.iter().enumerate().map(|(index, layer)| hash(layer, &index.to_string())).collect();
        Arc::new(Function {
            sequence: 7,
            name: "hello".parse().unwrap(),
            version: Version::Latest,
            task_root: self.code(),
            layers: layers.to_vec(),
            configuration: Configuration { timeout: Duration::from_secs(9), ..Configuration::default() },
            code: Code {
                sha256: ContentHash::with_layers(code, &layer_hashes),
                own_sha256: code,
                size: source.len() as u64,
                last_modified: std::time::UNIX_EPOCH,
            },
        })
    }
}

fn version(published: &Published, qualifier: &str) -> Option<String> {
    match published.resolve("hello", qualifier)? {
        Resolved::Latest => Some("latest".to_owned()),
        Resolved::Version(function) => {
            Some(std::fs::read_to_string(function.task_root.join("app.py")).unwrap())
        }
    }
}

fn alias(name: &str, version: Version) -> Alias {
    Alias {
        name: name.to_owned(),
        version,
        description: String::new(),
        weight: None,
        revision_id: String::new(),
    }
}

fn zip(files: &[(&str, &str)]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    // Made by hand, stored: one entry after the other, then the directory.
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (path, text) in files {
        let crc = crc32(text.as_bytes());
        let offset = bytes.len() as u32;
        let mut common = Vec::new();
        for short in [20_u16, 0, 0, 0, 0x21] {
            common.extend(short.to_le_bytes());
        }
        for long in [crc, text.len() as u32, text.len() as u32] {
            common.extend(long.to_le_bytes());
        }
        common.extend((path.len() as u16).to_le_bytes());
        common.extend(0_u16.to_le_bytes());
        bytes.extend(b"PK\x03\x04");
        bytes.extend(&common);
        bytes.extend(path.as_bytes());
        bytes.extend(text.as_bytes());
        directory.extend(b"PK\x01\x02\x14\x03");
        directory.extend(&common);
        for short in [0_u16, 0, 0] {
            directory.extend(short.to_le_bytes());
        }
        directory.extend((0o100_644_u32 << 16).to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend(path.as_bytes());
    }
    let (start, size, count) = (bytes.len() as u32, directory.len() as u32, files.len() as u16);
    bytes.extend(directory);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    for short in [count, count] {
        bytes.extend(short.to_le_bytes());
    }
    for long in [size, start] {
        bytes.extend(long.to_le_bytes());
    }
    bytes.extend([0, 0]);
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

#[tokio::test]
async fn a_version_stays_what_it_was() {
    let place = Place::new();
    let published = place.open();
    let one = published.publish(&place.function("one", &[]), Some("first")).await.unwrap();
    assert_eq!((one.version, one.configuration.description.as_str()), (Version::Number(1), "first"));
    // The same again, whatever is said of it.
    let again = published.publish(&place.function("one", &[]), Some("other")).await.unwrap();
    assert!(Arc::ptr_eq(&one, &again));
    let two = published.publish(&place.function("two", &[]), None).await.unwrap();
    assert_eq!(two.version, Version::Number(2));
    assert!(one.sequence < two.sequence);
    assert_eq!(version(&published, "1").as_deref(), Some("one"));
    drop(published);

    // After a restart too.
    let published = place.open();
    assert_eq!(version(&published, "1").as_deref(), Some("one"));
    let read = published.version("hello", 2).unwrap();
    assert_eq!(*read, Function { sequence: read.sequence, ..(*two).clone() });
    // What is the same as an older one, but not as the last, is a new version.
    let three = published.publish(&place.function("one", &[]), None).await.unwrap();
    assert_eq!(three.version, Version::Number(3));
}

#[tokio::test]
async fn numbers_are_never_given_twice_until_the_function_is_forgotten() {
    let place = Place::new();
    let published = place.open();
    published.publish(&place.function("one", &[]), None).await.unwrap();
    published.publish(&place.function("two", &[]), None).await.unwrap();
    assert!(published.delete_version("hello", 2).await.unwrap());
    assert!(!published.delete_version("hello", 2).await.unwrap());
    assert_eq!(version(&published, "2"), None);
    drop(published);
    let published = place.open();
    assert!(!place.state().join("versions/hello/2").exists(), "cleaned at the start");
    let three = published.publish(&place.function("two", &[]), None).await.unwrap();
    assert_eq!(three.version, Version::Number(3));

    published.create_alias("hello", alias("live", Version::Number(3))).await.unwrap();
    published.forget("hello").await.unwrap();
    assert!(published.versions("hello").is_empty() && published.aliases("hello").is_empty());
    let one = published.publish(&place.function("new", &[]), None).await.unwrap();
    assert_eq!(one.version, Version::Number(1));
    assert_eq!(version(&published, "1").as_deref(), Some("new"));
}

#[tokio::test]
async fn what_changes_while_it_is_copied_is_not_published() {
    let place = Place::new();
    let published = place.open();
    let function = place.function("one", &[]);
    std::fs::write(place.code().join("app.py"), "other").unwrap();
    let refused = published.publish(&function, None).await;
    assert!(matches!(refused, Err(PublishError::Changing(_))), "{refused:?}");
    let left = std::fs::read_dir(place.state().join("versions/hello")).unwrap().count();
    assert_eq!(left, 0);
    let first = published.publish(&place.function("two", &[]), None).await.unwrap();
    assert_eq!(first.version, Version::Number(1));
}

#[tokio::test]
async fn half_a_publication_is_removed() {
    let place = Place::new();
    let published = place.open();
    published.publish(&place.function("one", &[]), None).await.unwrap();
    drop(published);
    // Killed before the store was told, and in the middle of copying.
    for left in
        ["versions/hello/2/code", "versions/hello/.half-1/code", "versions/gone/1", "layers/x/.half-2"]
    {
        std::fs::create_dir_all(place.state().join(left)).unwrap();
    }
    let published = place.open();
    let versions = place.state().join("versions");
    assert!(versions.join("hello/1").exists());
    for gone in ["hello/2", "hello/.half-1", "gone"] {
        assert!(!versions.join(gone).exists(), "{gone}");
    }
    assert!(!place.state().join("layers/x").exists());
    assert_eq!(
        published.publish(&place.function("two", &[]), None).await.unwrap().version,
        Version::Number(2)
    );
}

#[tokio::test]
async fn aliases_lead_to_versions_that_exist() {
    let place = Place::new();
    let published = place.open();
    published.publish(&place.function("one", &[]), None).await.unwrap();
    published.publish(&place.function("two", &[]), None).await.unwrap();
    let created = published.create_alias("hello", alias("live", Version::Number(1))).await.unwrap();
    let again = published.create_alias("hello", alias("live", Version::Number(1))).await;
    assert_eq!(again, Err(AliasError::Exists));
    let nowhere = published.create_alias("hello", alias("x", Version::Number(9))).await;
    assert_eq!(nowhere, Err(AliasError::NoVersion(Version::Number(9))));
    let weight = Some(Weight { version: 2, share: 0.5 });
    let updated =
        published.update_alias("hello", "live", |alias| Ok(Alias { weight, ..alias })).await.unwrap();
    assert_ne!(updated.revision_id, created.revision_id);
    let missing = published.update_alias("hello", "x", Ok).await;
    assert_eq!(missing, Err(AliasError::Missing));

    // Neither of its versions can go.
    for number in [1, 2] {
        let refused = published.delete_version("hello", number).await;
        assert!(matches!(refused, Err(DeleteError::Referenced(aliases)) if aliases == ["live"]));
    }
    drop(published);
    let published = place.open();
    assert_eq!(published.alias("hello", "live"), Some(updated));
    assert!(published.delete_alias("hello", "live").await.unwrap());
    assert!(!published.delete_alias("hello", "live").await.unwrap());
    assert!(published.delete_version("hello", 2).await.unwrap());

    published.create_alias("hello", alias("now", Version::Latest)).await.unwrap();
    assert_eq!(version(&published, "now").as_deref(), Some("latest"));
}

#[tokio::test]
async fn what_belongs_to_an_alias_goes_with_it() {
    let place = Place::new();
    let published = place.open();
    published.publish(&place.function("one", &[]), None).await.unwrap();
    published.create_alias("hello", alias("live", Version::Number(1))).await.unwrap();
    published.provision("hello", "live", 2).await.unwrap();
    let url = UrlConfig {
        id: "abc".into(),
        iam: true,
        streams: true,
        cors: Some(serde_json::json!({"AllowOrigins": ["*"], "MaxAge": 5})),
        created_ms: 1,
        modified_ms: 2,
    };
    assert!(published.put_url("hello", "live", url.clone(), false).await.unwrap().is_some());
    assert!(published.put_url("hello", "live", url.clone(), false).await.unwrap().is_none());
    published
        .0
        .store
        .put_resource(Key { kind: POLICY, owner: "hello", name: "live" }, 1.into())
        .await
        .unwrap();
    drop(published);

    let published = place.open();
    let [api] = &published.apis()[..] else { panic!("{:?}", published.apis()) };
    assert_eq!((api.id.as_str(), api.name.as_str()), ("abc", "hello-live"));
    assert_eq!(api.routes[0].function(), Some("hello:live"));
    assert_eq!(api.cors.as_ref().unwrap().max_age, Some(5));
    assert_eq!(published.url("hello", "live"), Some(url));
    assert_eq!(published.wanted().iter().map(|(_, wanted)| *wanted).collect::<Vec<_>>(), [2]);
    published.delete_alias("hello", "live").await.unwrap();
    assert!(published.apis().is_empty());
    assert_eq!(published.wanted()[0].1, 0);
    assert!(published.provisions("hello").is_empty());
    let policy = Key { kind: POLICY, owner: "hello", name: "live" };
    assert_eq!(published.0.store.resource(policy).await.unwrap(), None);
}

#[tokio::test]
async fn layers_are_frozen_with_the_version() {
    let place = Place::new();
    let published = place.open();
    let files = [("python/tool.py", "tool"), ("python/lib/python3.12/site-packages/other.py", "other")];
    let layer = published.publish_layer("tools", NewLayer::default(), zip(&files)).await.unwrap();
    let id = LayerVersion { name: "tools".into(), version: 1 };
    let folder = id.folder(&place.state());
    assert_eq!(std::fs::read_to_string(folder.join("python/tool.py")).unwrap(), "tool");
    assert_eq!(std::fs::read(published.layer_zip(&layer)).unwrap(), zip(&files));

    let project = place.folder.path().join("shared");
    std::fs::create_dir_all(project.join("python")).unwrap();
    std::fs::write(project.join("python/part.py"), "before").unwrap();
    let function = place.function("one", &[folder.clone(), project.clone()]);
    let version = published.publish(&function, None).await.unwrap();
    std::fs::write(project.join("python/part.py"), "after").unwrap();
    assert_eq!(version.layers[0], folder);
    assert_eq!(std::fs::read_to_string(version.layers[1].join("python/part.py")).unwrap(), "before");
    assert_eq!(version.layer_paths("python3.12").len(), 3);

    // Deleted, it is not to be had any more; whoever has it goes on.
    published.delete_layer(&id).await.unwrap();
    assert!(published.layer(&id).is_none() && published.layer_versions("tools").is_empty());
    drop(published);
    let published = place.open();
    assert!(folder.join("python/tool.py").exists());
    published.delete_version("hello", 1).await.unwrap();
    drop(published);
    let published = place.open();
    assert!(!folder.exists(), "nobody uses it any more");
    let next = published.publish_layer("tools", NewLayer::default(), zip(&files)).await.unwrap();
    assert_eq!(next.version, 2);
}

#[tokio::test]
async fn what_is_no_zip_file_is_no_layer() {
    let place = Place::new();
    let published = place.open();
    for bytes in [Vec::new(), b"nonsense".to_vec(), zip(&[("../escape.py", "x")])] {
        let refused = published.publish_layer("tools", NewLayer::default(), bytes).await;
        assert!(matches!(refused, Err(LayerError::Zip(_))), "{refused:?}");
    }
    assert_eq!(std::fs::read_dir(place.state().join("layers/tools")).unwrap().count(), 0);
    assert!(!place.state().join("layers/escape.py").exists());
    let layer =
        published.publish_layer("tools", NewLayer::default(), zip(&[("python/a.py", "")])).await.unwrap();
    assert_eq!(layer.version, 1);
}

#[tokio::test]
async fn provisioned_environments_are_shared_out_by_weight() {
    let place = Place::new();
    let published = place.open();
    published.publish(&place.function("one", &[]), None).await.unwrap();
    published.publish(&place.function("two", &[]), None).await.unwrap();
    let weight = Some(Weight { version: 2, share: 0.25 });
    published.create_alias("hello", Alias { weight, ..alias("live", Version::Number(1)) }).await.unwrap();
    published.provision("hello", "live", 8).await.unwrap();
    published.provision("hello", "2", 1).await.unwrap();
    let wanted: Vec<u32> = published.wanted().iter().map(|(_, wanted)| *wanted).collect();
    assert_eq!(wanted, [6, 3]);
    assert!(published.unprovision("hello", "live").await.unwrap());
    let wanted: Vec<u32> = published.wanted().iter().map(|(_, wanted)| *wanted).collect();
    assert_eq!(wanted, [0, 1]);
}
