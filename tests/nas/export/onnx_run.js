/* Logits by onnxruntime: node onnx_run.js MODULES MODEL IMAGES OUT N C H W [LEVEL]
 * IMAGES and OUT are plain floats; MODULES is the node_modules folder of scripts/setup --consumers,
 * LEVEL how far onnxruntime may rewrite the graph (all; disabled: not at all). */
const fs = require('fs');
const path = require('path');

const [modules, model, images, out, ...dims] = process.argv.slice(2);
const graphOptimizationLevel = dims[4] || 'all';
const ort = require(path.join(modules, 'onnxruntime-web'));

async function main() {
    ort.env.wasm.numThreads = 1;
    const session = await ort.InferenceSession.create(model, { executionProviders: ['wasm'], graphOptimizationLevel });
    const bytes = fs.readFileSync(images);
    const floats = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
    const [n, ...shape] = dims.slice(0, 4).map(Number);
    const size = floats.length / n;
    const step = 100; // images a batch: memory, not results
    const rows = [];
    for (let i = 0; i < n; i += step) {
        const batch = floats.slice(i * size, Math.min(i + step, n) * size);
        const image = new ort.Tensor('float32', batch, [batch.length / size, ...shape]);
        rows.push((await session.run({ image })).logits.data);
    }
    fs.writeFileSync(out, Buffer.concat(rows.map((r) => Buffer.from(r.buffer, r.byteOffset, r.byteLength))));
}

main().catch((error) => {
    console.error(error);
    process.exit(1);
});
