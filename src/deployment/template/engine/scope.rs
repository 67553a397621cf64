//! What the names of a template mean while it is resolved, and how much work that may be.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use super::globals::Globals;
use super::parameters::Parameter;
use super::physical::{Identity, Place};
use super::reports::Reports;
use crate::deployment::yaml::{MOST_DEPTH, Node, Value};

/// What resolving may come to, in bytes: a template of a few lines can ask for any amount.
const MOST_WORK: usize = 32 << 20;
/// What a node costs besides its text.
const NODE: usize = 32;
/// Values within values, and names that lead to other names.
const DEEPEST: usize = 2 * MOST_DEPTH;
/// Of one text.
pub const MOST_TEXT: usize = 1 << 20;

pub struct Scope<'t> {
    pub place: Place,
    pub reports: Reports,
    pub language_extensions: bool,
    pub parameters: BTreeMap<String, Parameter>,
    pub mappings: Option<&'t Node>,
    pub conditions: HashMap<&'t str, Condition<'t>>,
    pub resources: HashMap<&'t str, Declaration<'t>>,
    /// Logical ids in the template's order.
    pub order: Vec<&'t str>,
    pub globals: &'t Globals,
    /// Files that have been included.
    pub files: Vec<PathBuf>,
    /// What is included cannot include anything, as on AWS.
    pub is_including: bool,
    /// Names that have been made already.
    pub identities: HashMap<String, Identity>,
    /// Those that are being made.
    pub naming: Vec<String>,
    /// Conditions may refer to parameters only.
    pub in_condition: bool,
    pub depth: usize,
    work: usize,
}

pub struct Condition<'t> {
    pub line: usize,
    pub node: &'t Node,
    pub state: Decision,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    Open,
    InProgress,
    /// `None`: it cannot be decided, which has been reported.
    Made(Option<bool>),
}

/// A resource as it is written.
pub struct Declaration<'t> {
    pub kind: &'t str,
    pub line: usize,
    pub properties: Option<&'t Node>,
    pub ignores_globals: Option<&'t Node>,
    /// The condition that is false, so that it does not exist.
    pub absent: Option<&'t str>,
}

/// A value that cannot be made: why, and the text that stands in its place.
#[derive(Debug)]
pub struct Unresolved {
    pub line: usize,
    /// Empty: reported already.
    pub problem: String,
    pub stand_in: String,
}

impl Unresolved {
    pub fn new(line: usize, problem: impl Into<String>, stand_in: &str) -> Self {
        Self { line, problem: problem.into(), stand_in: stand_in.to_owned() }
    }
}

impl<'t> Scope<'t> {
    pub fn new(place: Place, globals: &'t Globals, reports: Reports) -> Self {
        Self {
            place,
            reports,
            language_extensions: false,
            parameters: BTreeMap::new(),
            mappings: None,
            conditions: HashMap::new(),
            resources: HashMap::new(),
            order: Vec::new(),
            globals,
            files: Vec::new(),
            is_including: false,
            identities: HashMap::new(),
            naming: Vec::new(),
            in_condition: false,
            depth: 0,
            work: 0,
        }
    }

    /// Accounts for some bytes; `false`: no more of it.
    pub fn spend(&mut self, bytes: usize) -> bool {
        self.work = self.work.saturating_add(bytes);
        self.work <= MOST_WORK
    }

    /// More work was asked for than is done: what has come of it is not whole.
    pub fn is_exhausted(&self) -> bool {
        self.work > MOST_WORK
    }

    /// Goes one level down; whoever gets `true` must come up again.
    pub fn enter(&mut self, node: &Node) -> bool {
        let text = match &node.value {
            Value::Scalar { text, .. } => text.len(),
            Value::Sequence(_) | Value::Mapping(_) => 0,
        };
        if !self.spend(NODE + text) {
            return false;
        }
        if self.depth >= DEEPEST {
            self.reports.error(node.line, "this leads through too many other values; it is not resolved");
            return false;
        }
        self.depth += 1;
        true
    }

    pub fn spend_nodes(&mut self, nodes: usize) -> bool {
        self.spend(nodes.saturating_mul(NODE))
    }

    /// Reports why, and gives what stands in its place.
    pub fn stand_in(&mut self, unresolved: Unresolved) -> Node {
        if !unresolved.problem.is_empty() {
            self.reports.error(unresolved.line, unresolved.problem);
        }
        Node::scalar(&unresolved.stand_in, unresolved.line)
    }

    /// A resource's property as it is written, or as `Globals` has it.
    pub fn written(&self, logical_id: &str, property: &str) -> Option<&'t Node> {
        let declaration = self.resources.get(logical_id)?;
        let own = declaration.properties.and_then(|properties| properties.get(property));
        own.or_else(|| {
            let ignores = declaration.ignores_globals.is_some();
            self.globals.of(declaration.kind).filter(|_| !ignores)?.get(property)
        })
    }

    /// All names that something may be called by, for suggestions.
    pub fn names(&self) -> Vec<&str> {
        if self.reports.is_full() {
            return Vec::new();
        }
        let pseudo = super::references::PSEUDO_PARAMETERS.iter().copied();
        let parameters = self.parameters.keys().map(String::as_str);
        parameters.chain(self.order.iter().copied()).chain(pseudo).collect()
    }
}
