/// Schemes of URIs that this program knows, or that users may expect it to know.
const SCHEMES: [&str; 15] =
    ["kafka", "s3", "s3a", "gs", "gcs", "az", "azure", "adl", "abfs", "abfss", "http", "https", "ftp", "hdfs", "file"];

/// The scheme of a URI that lacks a slash or two: `s3:bucket/x`, `kafka:/broker/topic`. It would be taken for a path. A file of
/// such a name is written with its folder, `./s3:bucket`.
///
/// ```
/// assert_eq!(schema::scheme_without_slashes("s3:bucket/x"), Some("s3"));
/// assert_eq!(schema::scheme_without_slashes("s3://bucket/x"), None);
/// assert_eq!(schema::scheme_without_slashes("./s3:bucket/x"), None);
/// ```
pub fn scheme_without_slashes(text: &str) -> Option<&str> {
    let (scheme, rest) = text.split_once(':')?;
    let is_known = SCHEMES.iter().any(|known| known.eq_ignore_ascii_case(scheme));
    (is_known && !rest.starts_with("//")).then_some(scheme)
}
