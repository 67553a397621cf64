//! What a template is made of.

/// A part of a template, in the order in which it is written.
#[derive(Debug)]
pub enum Node {
    Text(String),
    Reference(Reference),
    Set { target: Reference, value: Expression },
    If { branches: Vec<(Expression, Vec<Node>)>, otherwise: Vec<Node> },
    Foreach { variable: String, list: Expression, body: Vec<Node>, line: usize },
    Break,
    Stop,
}

/// `$name`, `$!{name.property[0].method('x')}`
#[derive(Debug)]
pub struct Reference {
    /// As it is written: what stands in the output if it means nothing.
    pub source: String,
    pub name: String,
    pub steps: Vec<Step>,
    /// `$!`: nothing is written if it means nothing.
    pub quiet: bool,
    /// How many stand before the dollar: two make one, a last one takes the meaning away.
    pub backslashes: usize,
    pub line: usize,
}

#[derive(Debug)]
pub enum Step {
    Property(String),
    Method(String, Vec<Expression>),
    Index(Expression),
}

#[derive(Debug)]
pub enum Expression {
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    /// A text in double quotes is a small template.
    Interpolated(Vec<Node>),
    List(Vec<Expression>),
    Map(Vec<(Expression, Expression)>),
    Range(Box<Expression>, Box<Expression>),
    Reference(Reference),
    Not(Box<Expression>),
    Binary(Operator, Box<Expression>, Box<Expression>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Operator {
    /// How tightly it binds.
    pub fn rank(self) -> u8 {
        match self {
            Self::Or => 1,
            Self::And => 2,
            Self::Equal | Self::NotEqual => 3,
            Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual => 4,
            Self::Add | Self::Subtract => 5,
            Self::Multiply | Self::Divide | Self::Remainder => 6,
        }
    }
}

/// What stands between two values; the longer first.
pub const OPERATORS: [(&str, Operator); 21] = [
    ("&&", Operator::And),
    ("||", Operator::Or),
    ("==", Operator::Equal),
    ("!=", Operator::NotEqual),
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("<", Operator::Less),
    (">", Operator::Greater),
    ("+", Operator::Add),
    ("-", Operator::Subtract),
    ("*", Operator::Multiply),
    ("/", Operator::Divide),
    ("%", Operator::Remainder),
    ("and", Operator::And),
    ("or", Operator::Or),
    ("eq", Operator::Equal),
    ("ne", Operator::NotEqual),
    ("lt", Operator::Less),
    ("le", Operator::LessOrEqual),
    ("gt", Operator::Greater),
    ("ge", Operator::GreaterOrEqual),
];
