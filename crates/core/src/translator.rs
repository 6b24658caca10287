//! The translator service: the pipeline from text to translations.
