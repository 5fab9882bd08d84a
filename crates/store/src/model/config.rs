//! Rows of saved routing configs.

/// `status` of a config that requests may not use.
pub const STATUS_INACTIVE: &str = "inactive";

/// How many versions of a config are kept; an older one goes when a newer one comes.
pub const CONFIG_VERSIONS: i64 = 100;

/// A saved routing config, as requests get it now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigRow {
    /// Row id.
    pub id: String,
    /// The owner.
    pub workspace_id: String,
    /// The name that requests use, `pc-…`; unique in the workspace.
    pub slug: String,
    /// The name that people read.
    pub name: String,
    /// Whether somebody has marked it so; nothing follows from it.
    pub is_default: bool,
    /// [`crate::STATUS_ACTIVE`] or [`STATUS_INACTIVE`].
    pub status: String,
    /// Number of the version, from 1.
    pub version: i64,
    /// Id of the version.
    pub version_id: String,
    /// Who made the config.
    pub owner_id: String,
    /// Who made the version.
    pub updated_by: String,
    /// When the config was made, Unix time in milliseconds.
    pub created_at_ms: i64,
    /// When the version was made, Unix time in milliseconds.
    pub updated_at_ms: i64,
    /// The config: JSON, opaque here.
    pub config: String,
}
