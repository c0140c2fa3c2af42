//! What listeners heard, and how a system compares with it. People are the yardstick: of CREMA-D, who hears the voice
//! alone names the intended emotion in 40.9 % of all answers (Cao et al. 2014).

use std::collections::{BTreeMap, BTreeSet};

use intone::Emotion;
use serde::Serialize;

use super::groups::sex_of;
use super::{Clips, Tallies};
use crate::corpus::Votes;
use crate::metrics::{Figure, Tally};

/// Listeners and the system, on the clips that listeners voted on.
#[derive(Debug, Clone, Serialize)]
pub struct Crowd {
    /// Clips with votes.
    pub n: usize,
    /// Votes on them.
    pub n_votes: usize,
    /// One listener: the share of all votes that name the intended emotion.
    pub listener: Judge,
    /// The emotion that most listeners heard; where several tie, each counts in part.
    pub majority: Judge,
    /// The system, on the same clips.
    pub system: Judge,
    /// Listeners and system for each sex of the speakers, where both occur: how far apart they are for people, too.
    pub by_sex: Vec<OneSex>,
    /// The share of clips on which the system says what most listeners heard.
    pub agreement: Figure,
    /// The share of clips on which one listener says what the system says.
    pub listener_agreement: Figure,
    /// The system's accuracy on clips in which most listeners heard the intended emotion; where it ties with others, the clip
    /// counts in part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy_where_heard: Option<Figure>,
    /// Its accuracy on the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy_where_not: Option<Figure>,
    /// Mean Jensen-Shannon divergence of the system's probabilities and the shares of the votes, bits, in [0, 1].
    pub divergence: f64,
}

/// Somebody who names emotions.
#[derive(Debug, Clone, Serialize)]
pub struct Judge {
    /// Unweighted average recall of the intended emotions.
    pub uar: Figure,
    /// Share of answers that name the intended emotion.
    pub accuracy: Figure,
}

/// Clips of the speakers of one sex.
#[derive(Debug, Clone, Serialize)]
pub struct OneSex {
    /// `female` or `male`.
    pub sex: &'static str,
    /// Clips with votes.
    pub n: usize,
    /// One listener.
    pub listener: Judge,
    /// The system.
    pub system: Judge,
}

/// `None` where there are no votes on these clips.
pub(super) fn crowd(clips: &Clips<'_>, votes: &BTreeMap<String, Votes>) -> Option<Crowd> {
    let [mut listener, mut majority, mut system, mut agreement, mut with_listener, mut heard, mut not] =
        std::array::from_fn(|_| Tallies::new());
    let (mut n, mut n_votes, mut divergence) = (0, 0, 0.0);
    let mut by_sex: BTreeMap<&'static str, BTreeSet<usize>> = BTreeMap::new();
    let mut n_of: BTreeMap<&'static str, usize> = BTreeMap::new();
    for (answered, &speaker) in clips.answers.iter().zip(&clips.speaker_of) {
        let Some((votes, shares)) =
            votes.get(&answered.clip).and_then(|votes| Some((*votes, votes.soft_label()?)))
        else {
            continue;
        };
        let (truth, answer) = (answered.truth.index(), answered.answer());
        let winners = plurality(votes);
        for (class, &count) in votes.0.iter().enumerate() {
            listener.entry(speaker).or_default().confusion[truth][class] += f64::from(count);
            with_listener.entry(speaker).or_default().confusion[answer][class] += f64::from(shares[class]);
        }
        let part = 1.0 / winners.len() as f64;
        for winner in &winners {
            majority.entry(speaker).or_default().confusion[truth][winner.index()] += part;
            agreement.entry(speaker).or_default().confusion[winner.index()][answer] += part;
        }
        system.entry(speaker).or_default().confusion[truth][answer] += 1.0;
        // Of a tie that the intended emotion has a part in, that part was heard.
        let was_heard = if winners.contains(&answered.truth) { part } else { 0.0 };
        for (side, share) in [(&mut heard, was_heard), (&mut not, 1.0 - was_heard)] {
            if share > 0.0 {
                side.entry(speaker).or_default().confusion[truth][answer] += share;
            }
        }
        divergence += jensen_shannon(&answered.probabilities, &shares.map(f64::from));
        if let Some(sex) = sex_of(answered) {
            by_sex.entry(sex).or_default().insert(speaker);
            *n_of.entry(sex).or_default() += 1;
        }
        n += 1;
        n_votes += votes.0.iter().map(|&count| usize::from(count)).sum::<usize>();
    }
    if n == 0 {
        return None;
    }
    let judge = |tallies: Tallies| {
        let measured = clips.measured_from(tallies);
        Judge { uar: measured.mean_over_classes(Tally::uar), accuracy: measured.certain(Tally::accuracy) }
    };
    let part = |tallies: &Tallies, speakers: &BTreeSet<usize>| {
        judge(
            tallies
                .iter()
                .filter(|(s, _)| speakers.contains(s))
                .map(|(&s, tally)| (s, tally.clone()))
                .collect(),
        )
    };
    let one_sex = |(sex, speakers): (&'static str, BTreeSet<usize>)| OneSex {
        sex,
        n: n_of[sex],
        listener: part(&listener, &speakers),
        system: part(&system, &speakers),
    };
    let by_sex = if by_sex.len() > 1 { by_sex.into_iter().map(one_sex).collect() } else { Vec::new() };
    let share = |tallies: Tallies| clips.measured_from(tallies).certain(Tally::accuracy);
    Some(Crowd {
        n,
        n_votes,
        listener: judge(listener),
        majority: judge(majority),
        system: judge(system),
        by_sex,
        agreement: share(agreement),
        listener_agreement: share(with_listener),
        accuracy_where_heard: clips.measured_from(heard).figure(Tally::accuracy),
        accuracy_where_not: clips.measured_from(not).figure(Tally::accuracy),
        divergence: divergence / n as f64,
    })
}

/// The emotions with the most votes: one, or several that tie; none where nobody voted.
pub(super) fn plurality(votes: Votes) -> Vec<Emotion> {
    let most = votes.0.into_iter().max().unwrap_or_default();
    Emotion::ALL.into_iter().filter(|emotion| most > 0 && votes.0[emotion.index()] == most).collect()
}

/// The divergence of two distributions (Lin 1991), bits.
fn jensen_shannon(a: &[f64], b: &[f64]) -> f64 {
    let part = |p: f64, middle: f64| if p > 0.0 { 0.5 * p * (p / middle).log2() } else { 0.0 };
    a.iter().zip(b).map(|(&a, &b)| part(a, (a + b) / 2.0) + part(b, (a + b) / 2.0)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_divergence_of_distributions() {
        assert_eq!(jensen_shannon(&[0.5, 0.5], &[0.5, 0.5]), 0.0);
        assert_eq!(jensen_shannon(&[1.0, 0.0], &[0.0, 1.0]), 1.0);
        // scipy.spatial.distance.jensenshannon([0.7, 0.3], [0.4, 0.6], 2) ** 2
        assert!((jensen_shannon(&[0.7, 0.3], &[0.4, 0.6]) - 0.0666).abs() < 1e-3);
    }

    #[test]
    fn a_tie_has_several_winners() {
        assert_eq!(plurality(Votes([3, 1, 0, 3, 0, 0])), [Emotion::Angry, Emotion::Happy]);
        assert_eq!(plurality(Votes([0, 1, 0, 0, 0, 0])), [Emotion::Disgust]);
        assert!(plurality(Votes([0; 6])).is_empty());
    }
}
