//! What became of every resource and property of a template.

/// One line of the start-up report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub status: Status,
    /// Logical id.
    pub resource: String,
    /// `AWS::Serverless::Function`
    pub kind: String,
    /// Empty: the resource itself.
    pub property: String,
    pub line: usize,
    /// Why, or what is done instead; may be empty where it is supported.
    pub text: String,
}

impl Finding {
    /// The same, wherever it stands.
    pub fn is_like(&self, other: &Self) -> bool {
        let told = |finding: &Self| (finding.status, finding.text.clone());
        self.resource == other.resource
            && self.property == other.property
            && self.kind == other.kind
            && told(self) == told(other)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    Supported,
    /// Served, but not quite as on AWS.
    Different,
    Ignored,
}
