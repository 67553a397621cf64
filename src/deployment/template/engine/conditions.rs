//! `Conditions`, each decided once and only when it is asked for.

use super::intrinsics::function;
use super::scope::{Decision, Scope};
use crate::deployment::nearest::hint;
use crate::deployment::yaml::{Node, Value};

impl Scope<'_> {
    /// Whether a condition holds; `None`: it cannot be decided, which has been reported.
    pub fn condition(&mut self, name: &str, line: usize) -> Option<bool> {
        let Some(condition) = self.conditions.get_mut(name) else {
            let hint = hint(name, self.conditions.keys().copied());
            self.reports.error(line, format!("there is no condition `{name}`{hint}"));
            return None;
        };
        match condition.state {
            Decision::Made(decision) => return decision,
            Decision::InProgress => {
                let text = format!("the condition `{name}` depends on itself");
                let line = condition.line;
                self.reports.error(line, text);
                return None;
            }
            Decision::Open => condition.state = Decision::InProgress,
        }
        let node = condition.node;
        let outside = std::mem::replace(&mut self.in_condition, true);
        let decision = self.decide(node);
        self.in_condition = outside;
        if let Some(condition) = self.conditions.get_mut(name) {
            condition.state = Decision::Made(decision);
        }
        decision
    }

    fn decide(&mut self, node: &Node) -> Option<bool> {
        if !self.enter(node) {
            return None;
        }
        let decision = self.decide_within(node);
        self.depth -= 1;
        decision
    }

    fn decide_within(&mut self, node: &Node) -> Option<bool> {
        let Some((name, argument)) = function(node, true) else {
            let what = node.kind();
            self.reports.error(
                node.line,
                format!("a condition must be Fn::Equals, Fn::And, Fn::Or, Fn::Not or Condition, not {what}"),
            );
            return None;
        };
        match name {
            "Condition" => match argument.text() {
                Some(name) => self.condition(name, argument.line),
                None => {
                    self.reports.error(argument.line, "`Condition` must name a condition");
                    None
                }
            },
            "Fn::Equals" => {
                let [left, right] = self.operands(name, argument, 2, 2)? else { return None };
                let (left, right) = (self.resolve(left), self.resolve(right));
                match (left, right) {
                    (Some(left), Some(right)) => Some(same(&left, &right)),
                    (left, right) => Some(left.is_none() && right.is_none()),
                }
            }
            "Fn::Not" => {
                let [operand] = self.operands(name, argument, 1, 1)? else { return None };
                self.decide(operand).map(|decision| !decision)
            }
            "Fn::And" | "Fn::Or" => {
                let operands = self.operands(name, argument, 2, 10)?;
                let decisions: Vec<Option<bool>> =
                    operands.iter().map(|operand| self.decide(operand)).collect();
                let decisive = name == "Fn::Or";
                if decisions.contains(&Some(decisive)) {
                    Some(decisive)
                } else if decisions.contains(&None) {
                    None
                } else {
                    Some(!decisive)
                }
            }
            _ => {
                self.reports.error(node.line, format!("`{name}` is no condition"));
                None
            }
        }
    }

    fn operands<'n>(
        &mut self,
        name: &str,
        argument: &'n Node,
        least: usize,
        most: usize,
    ) -> Option<&'n [Node]> {
        let operands = argument.items().filter(|items| (least..=most).contains(&items.len()));
        if operands.is_none() {
            let many = if least == most { least.to_string() } else { format!("{least} to {most}") };
            self.reports.error(argument.line, format!("`{name}` must be given a list of {many}"));
        }
        operands
    }
}

/// The same value, wherever it stands.
pub fn same(left: &Node, right: &Node) -> bool {
    match (&left.value, &right.value) {
        (Value::Scalar { text: left, .. }, Value::Scalar { text: right, .. }) => left == right,
        (Value::Sequence(left), Value::Sequence(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::Mapping(left), Value::Mapping(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .zip(right)
                    .all(|(left, right)| same(&left.0, &right.0) && same(&left.1, &right.1))
        }
        _ => false,
    }
}
