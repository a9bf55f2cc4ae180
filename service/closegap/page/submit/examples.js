// Specs to begin with that take less than a minute on a laptop; the others come from the service.
const MODEL = `data: {source: digits}                 # 1,797 images of 8 by 8, no download
model:
  likelihood: bernoulli
  levels: [{latent: 8, decoder: {hidden: [128]}}]
inference:
  method: iterative                    # or standard, ladder, hybrid, svi, semi_amortized
  encode: [data, gradient, estimate]   # what the encoder sees in each iteration
  encoder: {hidden: [128], connection: highway}
  iterations: 4
training: {epochs: 15, batch_size: 64, learning_rate: 1.0e-3}
resources: {workers: 0}                # 0: within the attempt, without Ray`;

export const QUICK = `# An iterative inference model on the digits of scikit-learn: half a minute on a laptop.
kind: train
name: digits
${MODEL}
`;

export const PIPELINE = `# One submission, four jobs: each waits for what it needs, and takes its outputs.
kind: train
name: train
${MODEL}
---
kind: evaluate                         # bounds and gaps on the held-out part
name: evaluate
needs: [train]
model: \${train.model}
resources: {workers: 0}
---
kind: export                           # one ONNX file, compared with the model
name: export
needs: [train]
model: \${train.model}
resources: {workers: 0}
register: digits-encoder
---
kind: encode                           # every row's posterior, with its ELBO
name: encode
needs: [export]
model: \${export.model}
data: {part: test}
resources: {workers: 0}
`;

export const OWN = { quick: ["Train on digits, half a minute", QUICK], pipeline: ["Train, evaluate, export, encode", PIPELINE] };
